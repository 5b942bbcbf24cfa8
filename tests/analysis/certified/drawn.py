"""Sweeps of problems with known fronts, measured with errors that are independent or of common draws."""

from __future__ import annotations

import numpy as np
from scipy.stats import qmc

from dualsweep.analysis.certified.observations import Observations, Vector
from tests.analysis.certified.problems import Answer, Problem, problem


def half_squares(budgets: Vector) -> Answer:
    """P* = 1/2 sum (1 - b_i)^2 where b_i < 1, of min 1/2 |x|^2 subject to 1 - x_i <= b_i."""
    multipliers = np.maximum(1.0 - budgets, 0.0)
    return 0.5 * (multipliers**2).sum(axis=1), np.minimum(budgets, 1.0), multipliers


def problem_of(name: str) -> Problem:
    """One of `problems`, or H1, H3: half squares of 1 or 3 budgets in [0, 1.2]."""
    if name[0] == "H":
        return Problem(name, np.zeros(int(name[1])), np.full(int(name[1]), 1.2), half_squares)
    return problem(name)


def measured(case: Problem, count: int, noise: float, common: float, seed: int) -> Observations:
    """`count` exact trainings at a Sobol sequence's budgets, the tightest among them, measured with relative errors.

    Errors of f, g and lambda are `noise` of themselves, of g at most half of that of the range; those of f and of each g have
    the correlation `common` between any two trials, as where these are measured on the same draws.
    """
    rng, span = np.random.default_rng(seed), case.loose - case.tight
    units = qmc.Sobol(case.size, seed=rng).random_base2(8)[:count]
    units[0] = 0.0
    budgets = case.tight + span * units
    objective, values, multipliers = case.solve(budgets)
    errors = np.column_stack([noise * np.abs(objective), np.minimum(noise * np.abs(values), 0.5 * noise * span)])
    price_errors = noise * np.abs(multipliers)
    shared, own = rng.standard_normal(errors.shape[1]), rng.standard_normal(errors.shape)
    drawn = errors * (np.sqrt(common) * shared + np.sqrt(1 - common) * own)
    covariance = np.zeros((count, errors.shape[1], count, errors.shape[1]))
    for column in range(errors.shape[1]):
        pairs = common * np.outer(errors[:, column], errors[:, column])
        np.fill_diagonal(pairs, errors[:, column] ** 2)
        covariance[:, column, :, column] = pairs
    return Observations(
        budgets, objective + drawn[:, 0], values + drawn[:, 1:],
        multipliers + price_errors * rng.standard_normal(multipliers.shape), errors[:, 0], errors[:, 1:], price_errors,
        np.arange(case.size), np.zeros(case.size, dtype=np.bool_),
        covariance=covariance.reshape(errors.size, errors.size) if common else None, related=np.ones(count, dtype=np.bool_),
    )  # fmt: skip
