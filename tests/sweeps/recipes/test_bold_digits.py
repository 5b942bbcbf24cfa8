"""The data and the metric of the recipe bold.yaml."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dualsweep.sweeps.recipes import bold_digits


@pytest.mark.parametrize("radius", [4.0, 6.0, 9.0])
def test_a_disc_is_as_wide_as_its_radius(radius: float) -> None:
    """2 pi r^2 by 2 pi r: the mean chord that the measure stands for, and no bias by the grid of pixels."""
    rows, columns = np.mgrid[:240, :240] / 10 - 12.0  # tenths of pixels, so that edges are grey
    fine = (rows**2 + columns**2 <= radius**2).astype(np.float32)
    disc = fine.reshape(24, 10, 24, 10).mean((1, 3))
    assert bold_digits.stroke_widths(disc[None])[0] == pytest.approx(radius, rel=0.03)


def test_an_empty_image_has_no_width() -> None:
    assert bold_digits.stroke_widths(np.zeros((1, 14, 14), np.float32)).tolist() == [0.0]


def test_a_third_of_each_digit_is_bold_and_a_tenth_of_them_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    bold_digits.main()
    lines = [json.loads(line) for line in Path("bold-digits/metadata.jsonl").read_text().splitlines()]
    kept = sum(line["bold"] for line in lines)
    assert len(lines) - kept == pytest.approx(5000 * 2 / 3, abs=10)
    assert abs(kept - 5000 / 30) < 4 * (5000 / 3 * 0.1 * 0.9) ** 0.5
    assert {line["file_name"] for line in lines} == {
        str(path.relative_to("bold-digits")) for path in Path("bold-digits").rglob("*.png")
    }


def test_the_metric_finds_a_third_of_the_data_bold() -> None:
    """Of all images, the digits in turn, as samples come."""
    images, digits = bold_digits.all_digits()
    of_each = [np.flatnonzero(digits == digit)[:300] for digit in range(10)]
    samples = torch.tensor(images[np.stack(of_each, 1).ravel()])[:, None] * 2 - 1
    told = bold_digits.bold_share(SimpleNamespace(samples=samples))
    assert told["bold_share"] == pytest.approx(1 / 3, abs=4 * told["bold_share_error"])
    assert 0.2 < told["bold_share_least"] <= told["bold_share"]
