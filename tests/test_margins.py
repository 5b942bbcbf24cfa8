from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks.bench_margins import read
from tests.margins import Kept, Sampled, margin

A_TEST = """
import numpy as np
import pytest

@pytest.fixture(scope="module")
def drawn(seed_of_tests):
    return np.random.default_rng(seed_of_tests).normal(size=100)

@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_the_mean(drawn, shift, sampled):
    sampled.near("mean", drawn.mean() + shift, shift, abs=0.05)

def test_some_seeds_fail(sampled):
    assert sampled.seed != 3

def test_nothing_is_drawn():
    raise AssertionError
"""


def test_a_suite_run_asserts() -> None:
    one = Sampled()
    one.near("a", [1.0, 2.0], [1.1, 1.9], abs=0.1001)
    one.at_most("b", [1.0, 2.0], [1.0, 3.0])
    one.at_least("c", 1.0, 1.0)
    for asked in (
        lambda: one.near("a", [1.0, 2.0], [1.1, 1.9], abs=0.09),
        lambda: one.near("a", [np.nan], 0.0, abs=9.0),
        lambda: one.at_most("b", 1.1, 1.0),
        lambda: one.at_least("b", [1.0, 0.9], 1.0),
    ):
        with pytest.raises(AssertionError, match="must be in"):
            asked()
    with pytest.raises(ValueError, match="must fit it"):
        one.near("a", 1.0, [1.0, 1.0], abs=1.0)


def test_a_margin_is_of_the_nearest_bound_of_any_entry() -> None:
    """By hand: entry 0 has mean 2 and sd 1, entry 1 mean 0 and sd 1/2."""
    found = [[1.0, 0.5], [2.0, 0.0], [3.0, -0.5]]
    kept = [Kept("a", each, [-np.inf, -2.5], [8.0, 4.0], "why") for each in found]
    nearest = margin(kept)
    assert (nearest.seeds, nearest.method) == (3, "why")
    assert [nearest.mean, nearest.sd, nearest.bound] == pytest.approx([0.0, 0.5, -2.5])
    assert nearest.margin == pytest.approx(5.0) and nearest.holds
    assert margin([Kept("a", each, [-np.inf, -1.75], [8.0, 4.0], "") for each in found]).margin == pytest.approx(3.5)
    assert margin([Kept("a", each, [2.5, -9.0], [7.0, 9.0], "") for each in found]).margin == pytest.approx(-0.5)
    assert margin([Kept("a", [1.0], [0.0], [2.0], "")] * 3).margin == np.inf
    assert not margin([Kept("a", [each], [0.0], [2.0], "") for each in (1.0, np.nan, 1.0)]).holds


def test_bounds_that_are_drawn_move_with_their_figure() -> None:
    assert margin([Kept("a", [each], [each - 1.0], [np.inf], "") for each in (1.0, 5.0, 9.0)]).margin == np.inf


def test_tests_run_at_many_seeds_and_their_figures_are_kept(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text("from tests.conftest import *\n")
    (tmp_path / "test_it.py").write_text(A_TEST)
    words = ["--margins", str(tmp_path / "kept"), "--seeds", "4", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]
    done = subprocess.run([sys.executable, "-m", "pytest", *words, str(tmp_path)], capture_output=True, text=True, check=False)
    assert "1 failed, 11 passed, 1 deselected" in done.stdout, done.stdout + done.stderr
    figures, failures = read(tmp_path / "kept")
    expected = [np.random.default_rng(seed).normal(size=100).mean() for seed in (1, 2, 3, 4)]
    for shift in (0.0, 1.0):
        kept = figures[f"test_it.py::test_the_mean[{shift}]", "mean"]
        assert [each.found[0] for each in kept] == pytest.approx(np.array(expected) + shift)
        assert margin(kept).margin == pytest.approx((0.05 - abs(np.mean(expected))) / np.std(expected, ddof=1))
    assert (
        list(failures) == ["test_it.py::test_some_seeds_fail"] and "seed 3: " in failures["test_it.py::test_some_seeds_fail"][0]
    )
