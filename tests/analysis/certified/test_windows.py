"""Means of neighbouring trials: over windows, and over the edges of a triangulation."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest

from dualsweep.analysis.certified.band import band
from dualsweep.analysis.certified.windows import edges, windows
from tests.analysis.certified.drawn import measured, problem_of


def everyone(points: np.ndarray) -> np.ndarray:
    return np.ones(len(points), dtype=np.bool_)


def test_the_edges_of_a_square_with_its_middle_are_eight() -> None:
    points = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0], [0.5, 0.5]])
    weights = edges(points, everyone(points))
    np.testing.assert_allclose(weights.sum(axis=1), 1.0)
    members = sorted(tuple(np.flatnonzero(row).tolist()) for row in weights)
    assert members == [(0, 1), (0, 3), (0, 4), (1, 2), (1, 4), (2, 3), (2, 4), (3, 4)]
    # Without the middle none has it, and units make no difference.
    usable = np.array([True, True, True, True, False])
    assert not edges(points, usable)[:, 4].any()
    np.testing.assert_array_equal(edges(points * [1.0, 1e6], everyone(points)), weights)


@pytest.mark.parametrize(
    "points",
    [
        np.linspace(0, 1, 9)[:, None],  # one budget
        np.linspace(0, 1, 9)[:, None] * [1.0, 2.0],  # on a line
        np.random.default_rng(0).random((9, 4)),  # four budgets
        np.random.default_rng(0).random((41, 2)),  # many trials
        np.zeros((0, 2)),
    ],
)
def test_there_are_no_edges(points: np.ndarray) -> None:
    assert edges(points, everyone(points)).shape == (0, len(points))


def test_windows_of_a_line_are_neighbours() -> None:
    points = np.arange(16.0)[:, None]
    found = windows(points, everyone(points), everyone(points))
    np.testing.assert_allclose(found.sum(axis=1), 1.0)
    assert all(np.ptp(np.flatnonzero(row)) == np.count_nonzero(row) - 1 for row in found)
    assert {np.count_nonzero(row) for row in found} == {1, 2, 4}


def test_means_over_edges_narrow_the_band_and_without_errors_leave_it(monkeypatch: pytest.MonkeyPatch) -> None:
    case, module = problem_of("A3"), import_module("dualsweep.analysis.certified.band")
    at = case.grid()
    trials, exact = measured(case, 12, 0.02, 0.0, 3), measured(case, 12, 0.0, 0.0, 3)
    wide = []
    for means in (edges, lambda points, usable: np.zeros((0, len(points)))):
        monkeypatch.setattr(module, "edges", means)
        wide.append((band(trials, at, 2.0).upper, band(exact, at, 2.0).upper))
    (with_them, exact_with), (without, exact_without) = wide
    closed = np.isfinite(without)
    assert with_them[closed].mean() < without[closed].mean()
    np.testing.assert_allclose(exact_with, exact_without, atol=1e-12)


@pytest.mark.parametrize(("count", "common"), [(5, 0.0), (40, 0.9)])
def test_how_far_multipliers_errors_tilt_is_what_costs_least(count: int, common: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside any choice alone the band is not wider in the mean."""
    case, module = problem_of("A3"), import_module("dualsweep.analysis.certified.critical")
    at, trials = case.grid(), measured(case, count, 0.02, common, 1)
    widths = []
    for levers in (module.LEVERS, *((one,) for one in module.LEVERS)):
        monkeypatch.setattr(module, "LEVERS", levers)
        gap = band(trials, at, 2.0).gap
        widths.append(gap[np.isfinite(gap)].mean())
    assert widths[0] <= min(widths[1:]) + 1e-9 < max(widths[1:])
