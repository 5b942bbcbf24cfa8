"""How often a knee is claimed where there is none, found where there is one, and found where it is.

Shares of sweeps; tests/benchmarks/coverage/band.py has all cases.
"""

from __future__ import annotations

import numpy as np
import pytest

from dualsweep.analysis.recommendation.knee import Knee, find_knee
from dualsweep.analysis.recommendation.points import Points
from dualsweep.analysis.trials import Trial
from tests.analysis.recommendation.bent import bent_front
from tests.margins import Sampled

SIGMA = 0.02


def found(kind: str, count: int, seed: int) -> tuple[Knee, int]:
    """The knee of a front that bulges by 6 standard errors of its sums, and where it truly is."""
    rng = np.random.default_rng(seed)
    errors = np.full((count, 2), SIGMA)
    values, knee = bent_front(kind, count, 6 * SIGMA * np.sqrt(2))
    trials = tuple(Trial(f"{row:04d}", "", "converged") for row in range(count))
    return find_knee(Points(("a", "b"), trials, values + errors * rng.standard_normal(values.shape), errors)), knee


def chance(share: float, sweeps: int) -> float:
    return 4 * float(np.sqrt(share * (1 - share) / sweeps))


def seeds(sampled: Sampled, sweeps: int) -> range:
    return range(1000 * sampled.seed, 1000 * sampled.seed + sweeps)


@pytest.mark.parametrize("count", [12, 60])
def test_a_straight_front_has_a_knee_in_at_most_5_percent(count: int, sampled: Sampled) -> None:
    claimed = [found("straight", count, seed)[0].row is not None for seed in seeds(sampled, 60)]
    sampled.at_most("share of sweeps", float(np.mean(claimed)), 0.05 + chance(0.05, 60))


@pytest.mark.parametrize("kind", ["kink", "parabola"])
@pytest.mark.parametrize("count", [12, 40])
def test_a_bulge_of_6_errors_is_found_and_its_knee_is_named(kind: str, count: int, sampled: Sampled) -> None:
    knees = [found(kind, count, seed) for seed in seeds(sampled, 25)]
    there = [(each, true) for each, true in knees if each.row is not None]
    sampled.at_least("found", len(there) / len(knees), 0.95 - chance(0.95, len(knees)))
    named = float(np.mean([true == each.row or true in each.alike for each, true in there]))
    sampled.at_least("named", named, 0.95 - chance(0.95, len(knees)))
    if (kind, count) == ("kink", 12):
        near = float(np.mean([abs((each.row or 0) - true) <= 1 for each, true in there]))
        sampled.at_least("within one point", near, 0.95 - chance(0.95, len(knees)))
