"""The hypervolume against a grid, known values, and points that must not count."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest

from dualsweep.analysis.errors import ReviewError
from dualsweep.analysis.hypervolume import default_reference_point, hypervolume, hypervolume_history, reference_point_of
from dualsweep.analysis.trials import Direction, SweepRecord, Trial
from dualsweep.trainer.feasibility.standing import Standing

TWO: list[Direction] = ["minimize", "minimize"]


def by_cells(points: Sequence[Sequence[float]], reference: Sequence[float]) -> float:
    """The exact volume (all minimised) as a sum over the grid cells that the points' coordinates cut."""
    cuts = [sorted({*(p[d] for p in points if p[d] < r), r}) for d, r in enumerate(reference)]
    total = 0.0
    for cell in itertools.product(*(range(len(cut) - 1) for cut in cuts)):
        corner = [cut[i] for cut, i in zip(cuts, cell, strict=True)]
        if any(all(a <= b for a, b in zip(point, corner, strict=True)) for point in points):
            total += math.prod(cut[i + 1] - cut[i] for cut, i in zip(cuts, cell, strict=True))
    return total


@pytest.mark.parametrize("dimensions", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_a_sum_over_cells(dimensions: int, seed: int) -> None:
    rng = np.random.default_rng(10 * dimensions + seed)
    points = rng.random((12, dimensions)).round(1)  # ties and duplicates
    points[0] += 1.0  # worse than the reference: nothing
    reference = [0.9] * dimensions
    expected = by_cells(points.tolist(), reference)
    assert hypervolume(points, ["minimize"] * dimensions, reference) == pytest.approx(expected, rel=1e-12)
    signs = np.where(rng.random(dimensions) < 0.5, -1.0, 1.0)
    directions: list[Direction] = ["maximize" if sign < 0 else "minimize" for sign in signs]
    assert hypervolume(points * signs, directions, [float(x) for x in signs * reference]) == pytest.approx(expected, rel=1e-12)


def test_known_values() -> None:
    assert hypervolume([[1, 3], [2, 2], [3, 1]], TWO, [4, 4]) == 6.0
    assert hypervolume([[1, 3], [2, 2], [3, 1], [2, 2], [3, 3]], TWO, [4, 4]) == 6.0
    assert hypervolume([[0, 10]], ["minimize", "maximize"], [2, 7]) == 6.0
    assert hypervolume([], TWO, [1, 1]) == 0.0
    assert hypervolume([[1, 0]], TWO, [1, 1]) == 0.0  # on the reference's edge
    # The unit simplex x + y + z >= 1 seen from (1, 1, 1), approached by a fine front: 1 - 1/6 of the cube.
    n = 60
    front = [[i / n, j / n, (n - i - j) / n] for i in range(n + 1) for j in range(n + 1 - i)]
    assert hypervolume(front, ["minimize"] * 3, [1, 1, 1]) == pytest.approx(5 / 6, abs=0.02)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_non_finite_points_add_nothing(bad: float) -> None:
    assert hypervolume([[1.0, 1.0], [bad, 0.5], [0.5, bad]], TWO, [2, 2]) == 1.0


def test_many_objectives_are_approximated_in_bounded_time() -> None:
    # One corner point in 8 dimensions: the exact volume is a product.
    assert hypervolume([[0.5] * 8], ["minimize"] * 8, [1.0] * 8) == pytest.approx(0.5**8, rel=0.02)


@pytest.mark.parametrize("reference", [[1.0], [1.0, 2.0, 3.0], [1.0, math.nan], [math.inf, 1.0]])
def test_a_reference_point_that_does_not_fit_is_refused(reference: list[float]) -> None:
    with pytest.raises(ReviewError, match="one finite number for each of the 2 objectives"):
        hypervolume([[0, 0]], TWO, reference)


def test_the_default_reference_point() -> None:
    points = [[1.0, 10.0, 0.0], [3.0, 10.0, 0.0], [math.nan, 99.0, 99.0]]
    directions: list[Direction] = ["minimize", "maximize", "minimize"]
    assert default_reference_point(points, directions) == pytest.approx((3.2, 9.0, 0.1))
    assert default_reference_point([[math.nan, 1.0]], TWO) is None
    assert default_reference_point([], TWO) is None


#: May it be on the front: yes, no, nobody knows.
_STANDING: dict[bool | None, Standing | None] = {True: "met", False: "violated", None: None}


def sweep(points: Sequence[tuple[float, float, bool | None]], reference: tuple[float, ...] | None = None) -> SweepRecord:
    trials = tuple(
        Trial(f"{i}", "r", "converged", metrics={"a": a, "b": b}, standing=_STANDING[ok]) for i, (a, b, ok) in enumerate(points)
    )
    return SweepRecord("1", "s", "p", {"a": "minimize", "b": "minimize"}, reference, trials)


def test_the_history_never_falls_and_ends_at_the_hypervolume() -> None:
    rng = np.random.default_rng(3)
    record = sweep([(float(a), float(b), bool(ok)) for a, b, ok in zip(*rng.random((2, 60)), rng.random(60) < 0.7, strict=True)])
    history = hypervolume_history(record)
    reference = reference_point_of(record)
    assert reference is not None and len(history) == 60
    for count in (1, 7, 30, 60):
        points = [record.point(trial) for trial in record.trials[:count] if trial.standing == "met"]
        assert history[count - 1] == pytest.approx(hypervolume(points, TWO, reference))
    assert all(a <= b for a, b in itertools.pairwise(history))


def test_infeasible_and_unknown_trials_count_for_nothing() -> None:
    record = sweep([(0.0, 0.0, False), (0.0, 0.0, None), (1.0, 1.0, True), (math.nan, 0.0, True)], (2.0, 2.0))
    assert hypervolume_history(record) == (0.0, 0.0, 1.0, 1.0)
    assert reference_point_of(sweep([(0.0, 0.0, None)])) is None
    assert hypervolume_history(sweep([(0.0, 0.0, None)])) == ()
