"""What a benchmark calls measured, and what it says holds."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from tests.benchmarks.common import ROOT
from tests.benchmarks.rows import ROWS, Interval, exponent, holds


def test_an_interval_covers_the_ratio_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    inside = 0
    for ratios in np.exp(rng.normal(math.log(1.3), 0.05, (2000, 4))):
        interval = Interval.of(list(ratios))
        inside += interval.low <= 1.3 <= interval.high
    assert abs(inside / 2000 - 0.95) < 4 * math.sqrt(0.95 * 0.05 / 2000)


def test_it_is_students_of_the_logarithms() -> None:
    ratios = [1.1, 1.2, 1.4]
    expected = stats.t.interval(0.95, 2, np.log(ratios).mean(), stats.sem(np.log(ratios)))
    interval = Interval.of(ratios)
    assert (interval.low, interval.high) == pytest.approx(tuple(np.exp(expected)))
    assert interval.half_width == pytest.approx((expected[1] - expected[0]) / 2)


def test_an_exponent_is_the_slope_of_the_logarithms() -> None:
    costs = {2: 3.0, 7: 5.0, 50: 90.0}
    assert exponent(costs) == pytest.approx(stats.linregress(np.log(list(costs)), np.log(list(costs.values()))).slope)


@pytest.mark.parametrize(
    ("ratios", "bound", "kept"),
    [
        ([1.0, 1.01, 1.02], ">= 1.0", True),
        ([0.9, 0.91, 0.92], ">= 1.0", False),
        ([0.97, 1.01, 0.98, 1.01], ">= 1.0", True),
        ([1.19, 1.2, 1.21], "<= 1.2", True),
        ([1.29, 1.3, 1.31], "<= 1.2", False),
        ([0.5, 1.0, 2.0], "<= 1.2", False),  # it may be, but nobody knows
        ([1.0], "<= 1.2", False),
    ],
)
def test_a_ratio_holds_where_its_interval_reaches_the_bound_and_is_narrow(ratios: list[float], bound: str, kept: bool) -> None:
    assert Interval.of(ratios).holds("a ratio", bound, 0.05) == kept


def test_what_is_no_number_does_not_hold() -> None:
    assert holds("a figure", 2.0, "<= 2") and holds("a figure", 2.0, ">= 2")
    assert not holds("a figure", math.nan, "<= 2") and not holds("a figure", math.nan, ">= 2")


def test_a_row_is_kept_for_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ROWS, str(tmp_path / "rows"))
    holds("a figure", 2.0, "<= 1")
    Interval.of([1.0, 1.0, 1.0]).holds("a ratio", ">= 1.0", 0.05)
    rows = [json.loads(line) for line in (tmp_path / "rows").read_text().splitlines()]
    assert [(row["what"], row["measured"], row["bound"], row["kept"]) for row in rows] == [
        ("a figure", "2", "<= 1", False),
        ("a ratio", "1 [1, 1]", ">= 1.0", True),
    ]


@pytest.mark.parametrize(
    ("body", "said", "code"),
    [
        ("holds('a figure', 1.0, '<= 2')", "| x: a figure | 1 | <= 2 | yes |", 0),
        ("holds('a figure', 3.0, '<= 2')", "| x: a figure | 3 | <= 2 | no |", 1),
        ("holds('a figure', 1.0, '<= 2'); raise SystemExit(4)", "| x | ended with code 4 | | no |", 1),
        ("pass", "| x | told nothing | | no |", 1),
    ],
)
def test_the_table_holds_where_every_row_does(body: str, said: str, code: int, tmp_path: Path) -> None:
    """Those of a benchmark that is put beside the others in a copy."""
    shutil.copytree(
        ROOT / "tests", tmp_path / "tests", ignore=lambda *_: {"__pycache__", "pipeline", "sweeps", "analysis", "docs"}
    )
    (tmp_path / "tests/benchmarks/bench_x.py").write_text(f"from tests.benchmarks.rows import holds\n{body}\n")
    table = tmp_path / "tests/benchmarks/__main__.py"
    table.write_text(
        table.read_text().replace("BENCHMARKS: dict[str, list[str]] = {", 'BENCHMARKS: dict[str, list[str]] = {"x": [],')
    )
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks", "x"], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "DUALSWEEP_NETNS": "1"},
    )  # fmt: skip
    assert done.returncode == code and said in done.stdout, done.stdout + done.stderr
