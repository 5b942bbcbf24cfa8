"""Alignment through the public command: the exact multipliers, and samples that have the rewards."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.known.cases import THRESHOLDS, backpropagation
from tests.pipeline.conftest import ROOT, run

pytestmark = pytest.mark.ray


def test_two_workers_align_a_gaussian_to_two_rewards(folder: Path) -> None:
    case = backpropagation(2)
    plain = {**case.plain, "resources": {"workers": 2}}
    plain["train"]["steps"], plain["evaluation"]["samples"] = 400, 2000
    (folder / "recipe.yaml").write_text(yaml.safe_dump(plain))
    # Its model and rewards are those of `tests.known`.
    said = run(folder, "train", "recipe.yaml", "--output", "out", "--json", "r.json", PYTHONPATH=str(ROOT))
    result = json.loads((folder / "r.json").read_text())
    assert not [f"{each.required}, but got {each.found}" for each in case.judge(result) if not each.ok]
    assert {each["kind"] for each in result["constraints"].values()} == {"at_least"} and "first" in said
    samples = np.load(folder / "out" / "samples.npy")
    assert samples.shape == (2000, 2) and np.abs(samples.mean(0) - list(THRESHOLDS.values())[:2]).max() < 0.1
