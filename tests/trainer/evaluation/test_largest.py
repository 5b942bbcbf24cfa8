"""The largest of several noisy values: its interval covers where values are equal, near and far, and where they vary together."""

from __future__ import annotations

import numpy as np
import pytest

from dualsweep.trainer.dual.problem import ConstrainedProblem
from dualsweep.trainer.engine.stated_problem import problem_of
from dualsweep.trainer.evaluation.drawn import JointDraws, drawn_values
from dualsweep.trainer.evaluation.largest import is_apart, largest_interval
from dualsweep.trainer.evaluation.values import objective_metrics
from tests.margins import Sampled
from tests.trainer.recipes import digits

RUNS = 4_000


@pytest.mark.parametrize("common", [0.0, 0.9])
@pytest.mark.parametrize("truth", [[1.0, 1.0], [1.0] * 10, [1.0, 0.9, 0.0], [3.0, 0.0]])
def test_the_interval_covers(truth: list[float], common: float, sampled: Sampled) -> None:
    rng, size = np.random.default_rng(sampled.seed), len(truth)
    covariance = 0.01 * (common + (1 - common) * np.eye(size))
    found = rng.multivariate_normal(truth, covariance, RUNS)
    ends = np.array([largest_interval(each, np.full(size, 0.1)) for each in found])
    sampled.at_least("covered", np.mean((ends[:, 0] <= max(truth)) & (max(truth) <= ends[:, 1])), 0.93)
    sampled.at_most("width", np.mean(ends[:, 1] - ends[:, 0]), 0.5)


def test_equal_values_are_hardly_ever_told_apart(sampled: Sampled) -> None:
    rng = np.random.default_rng(sampled.seed)
    near, far = (rng.multivariate_normal(means, np.eye(3), RUNS) for means in ([0.0] * 3, [9.0, 0.0, 0.0]))
    sampled.at_most("equal", np.mean([is_apart(each, np.eye(3)) for each in near]), 0.06)
    sampled.at_least("apart", np.mean([is_apart(each, np.eye(3)) for each in far]), 0.95)


def minimax() -> ConstrainedProblem:
    return ConstrainedProblem(("a", "b"), np.full(2, np.nan), np.zeros(2, dtype=np.bool_), simplex=True)


@pytest.mark.parametrize(("apart", "has_error"), [(0.0, False), (3.0, True)])
def test_the_largest_kl_has_an_error_only_where_it_is_apart(apart: float, has_error: bool) -> None:
    values = np.random.default_rng(0).standard_normal((200, 2))
    values = values - values.mean(0) + [2.0, 2.0 + apart]
    estimate = drawn_values(3, [JointDraws((1, 2), values, (200,))]).estimate()
    metrics = objective_metrics(minimax(), estimate)
    assert ("objective_error" in metrics) == has_error
    assert metrics["objective_low"] == metrics["value_low/max"] < 2.0 + apart < metrics["objective_high"]
    assert set(objective_metrics(problem_of(digits()), drawn_values(3, []).estimate())) == set()


def test_slacks_of_a_minimax_problem_have_the_error_of_differences(sampled: Sampled) -> None:
    """KLs on the same chains vary together: u - g is surer than either."""
    rng, told, slacks = np.random.default_rng(sampled.seed), [], []
    for _ in range(500):
        values = 3.0 * rng.standard_normal((100, 1)) + rng.standard_normal((100, 2)) + [0.0, 2.0]
        estimate = drawn_values(3, [JointDraws((1, 2), values, (100,))]).estimate()
        told.append(minimax().slack_errors(estimate))
        slacks.append(minimax().slacks(estimate.mean))
    slack_errors = np.array(told).mean(0)
    assert slack_errors[1] == 0.0  # u is its own value
    sampled.near("told", slack_errors[0], np.sqrt(2 / 100), rel=0.05)
    sampled.near("scatter", np.std(slacks, axis=0)[0], np.sqrt(2 / 100), rel=0.16)
