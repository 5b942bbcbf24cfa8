"""Bands of trials that are means over few seeds: the errors that a seed or two more would tell, and the coverage they make."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm, t

from dualsweep.analysis.certified.band import band
from dualsweep.analysis.certified.observations import Observations
from dualsweep.analysis.certified.seeds import widened
from tests.analysis.certified.drawn import measured, problem_of
from tests.margins import Sampled


def test_of_one_training_errors_stay_and_of_many_too() -> None:
    errors = np.array([0.1, 0.0, 0.3])
    assert (widened(errors, np.ones(3, dtype=np.intp)) == errors).all()
    assert widened(errors, np.full(3, 10_000)) == pytest.approx(errors, rel=0.01)
    assert widened(np.array([0.1, 0.0]), np.full(2, 3))[1] == 0
    alone = widened(np.array([0.1, 0.3]), np.array([3, 1]))
    assert alone == pytest.approx([0.1 * t.ppf(norm.cdf(3.0), 2) / 3.0, 0.3])


def test_trials_of_one_variance_are_pooled(sampled: Sampled) -> None:
    """The largest of 1,000 errors of two seeds is far above theirs, the others are taken for what all of them are."""
    scatter = np.random.default_rng(sampled.seed).standard_normal((1000, 2)).std(axis=1, ddof=1) / np.sqrt(2)
    found = widened(scatter, np.full(1000, 2)) * np.sqrt(2)
    sampled.between("the median error of one training", np.median(found), 0.8, 1.35)
    assert (found >= scatter * np.sqrt(2) - 1e-12).all()


def few_seeds(seed: int, seeds: int) -> Observations:
    """12 trials of A1, each the mean over `seeds` trainings between which figures vary 3 times as much as evaluations do."""
    case, rng = problem_of("A1"), np.random.default_rng(seed)
    trials = measured(case, 12, 0.006, 0.0, seed)
    objective, values, multipliers = case.solve(trials.asked)
    evaluation = np.column_stack([trials.objective_error, trials.value_errors, trials.multiplier_errors])
    truth = np.column_stack([objective, values, multipliers])
    runs = truth + np.sqrt(10.0) * evaluation * rng.standard_normal((seeds, *truth.shape))
    errors = np.sqrt(np.maximum(runs.var(axis=0, ddof=1), evaluation**2) / seeds)  # as `sweeps/records/replicates.py` has them
    errors, mean = widened(errors, np.full(12, seeds)), runs.mean(axis=0)
    return replace(
        trials, objective=mean[:, 0], values=mean[:, 1:2], multipliers=mean[:, 2:], objective_error=errors[:, 0],
        value_errors=errors[:, 1:2], multiplier_errors=errors[:, 2:], related=None,
    )  # fmt: skip


@pytest.mark.parametrize("seeds", [2, 3])
def test_the_band_of_trials_with_few_seeds_covers_the_front(seeds: int, sampled: Sampled) -> None:
    """With the scatter of each trial taken for its error, 52 % of the bands held with 2 seeds, 72 % with 3."""
    case, sweeps, covered = problem_of("A1"), 40, 0
    at, truth = case.grid(), case.solve(case.grid())[0]
    for seed in range(1000 * sampled.seed, 1000 * sampled.seed + sweeps):
        sides = band(few_seeds(seed, seeds), at, 2.0)
        covered += bool((sides.lower <= truth + 1e-9).all() and (truth <= sides.upper + 1e-9).all())
    sampled.at_least("share of sweeps", covered / sweeps, 0.95 - 4 * np.sqrt(0.05 * 0.95 / sweeps))
