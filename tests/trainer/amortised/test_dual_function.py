"""b -> lambda and the front from points of closed-form problems: Gaussian tilting, minority classes, a tilted mixture."""

from __future__ import annotations

import numpy as np
import pytest

from dualsweep.trainer.amortised.dual_function import DualFunction
from dualsweep.trainer.amortised.front import AmortisedFront, FrontPoint
from dualsweep.trainer.amortised.spread import MultiplierRange
from dualsweep.trainer.dual.problem import ConstrainedProblem, Vector
from dualsweep.trainer.recipe.bound import RELATIVE_LIMIT
from tests.analysis.certified import problems
from tests.analysis.certified.problems import GAMMA, problem


def spread_of(size: int, high: float, **more) -> MultiplierRange:
    names = tuple("abc"[:size])
    made = ConstrainedProblem(names, np.zeros(size), more.pop("relative", np.zeros(size, dtype=np.bool_)), **more)
    return MultiplierRange(made, np.full(size, 0.003), np.full(size, high), 0.1, 0)


def answers(name: str, multipliers: Vector) -> tuple[Vector, Vector]:
    """f [n] and g [n, m] of the Lagrangian's minimiser at multipliers [n, m]."""
    size = multipliers.shape[1]
    if name[0] == "A":
        gamma = GAMMA[:size, :size]
        return 0.5 * np.einsum("ij,jk,ik->i", multipliers, gamma, multipliers), -multipliers @ gamma
    if name == "B3":
        weights = (0.01 + multipliers) / (1 + multipliers.sum(1, keepdims=True))
        rest = 0.97 / (1 + multipliers.sum(1))
        return (0.01 * np.log(0.01 / weights)).sum(1) + 0.97 * np.log(0.97 / rest), -np.log(weights)
    rewards = problems._rewards(size)
    logs = np.log(problems._density())[None] + multipliers @ rewards.T
    normaliser = np.log(np.exp(logs - logs.max(1, keepdims=True)).sum(1)) + logs.max(1)
    means = np.exp(logs - normaliser[:, None]) @ rewards
    return (multipliers * means).sum(1) - normaliser, -means


def fitted(name: str, points: int, high: float) -> DualFunction:
    spread = spread_of(int(name[1]), high)
    multipliers = spread.measured(points)
    return DualFunction.of(spread, multipliers, *answers(name, multipliers))


@pytest.mark.parametrize(
    ("name", "high", "mean", "price"),
    [("A1", 3.0, 0.1, 0.01), ("C1", 5.0, 0.1, 0.01), ("A3", 4.0, 0.5, 0.03), ("B3", 3.0, 1.0, 0.08), ("C2", 6.0, 0.8, 0.03)],
)
def test_the_front_and_its_multipliers_from_32_points(name, high, mean, price):
    """Errors: of the front in percent of its range, on average; of the multipliers relative to theirs, in the median."""
    case = problem(name)
    grid = case.grid()
    at = grid[np.random.default_rng(0).choice(len(grid), 25)]
    objective, _, multipliers = case.solve(at)
    found, prices = fitted(name, 32, high).front(at)
    assert 100 * np.abs(found - objective).mean() / np.ptp(case.solve(grid)[0]) <= mean
    assert np.median(np.abs(prices - multipliers) / (multipliers + 0.05)) <= price


def test_slack_budgets_have_no_multiplier():
    dual = fitted("A2", 24, 3.0)
    assert dual.multipliers_for(np.array([1.0, 1.0])).tolist() == [0.0, 0.0]
    # lambda_1 = 1 alone gives g = (-1, 0.4): a second budget above that is slack.
    assert dual.multipliers_for(np.array([-1.0, 0.6])) == pytest.approx([1.0, 0.0], abs=0.08)


def test_relaxed_budgets_are_those_of_the_resilient_problem():
    """argmax of lambda c - lambda^2 (1 + 1 / alpha) / 2 is c / (1 + 1 / alpha)."""
    dual = fitted("A1", 16, 3.0)
    assert dual.multipliers_for(np.array([-1.5]), softness=np.array([0.5])) == pytest.approx([1.0], rel=0.01)


def test_relative_multipliers_stay_in_their_domain():
    spread = spread_of(2, RELATIVE_LIMIT, relative=np.ones(2, dtype=np.bool_))
    multipliers = spread.measured(24)
    dual = DualFunction.of(spread, multipliers, *answers("A2", multipliers))
    assert dual.multipliers_for(np.array([-5.0, -5.0])).sum() == pytest.approx(RELATIVE_LIMIT, abs=1e-6)


def test_a_budget_beyond_the_limit_of_the_sum_is_refused_though_no_multiplier_is_at_the_end_of_its_own_range():
    spread = spread_of(2, RELATIVE_LIMIT, relative=np.ones(2, dtype=np.bool_))
    multipliers = spread.measured(24)
    objective, values = answers("A2", multipliers)
    rows = zip(multipliers.tolist(), objective.tolist(), values.tolist(), strict=True)
    points = [
        FrontPoint(dict(zip("ab", at, strict=True)), height, 0.01, dict(zip("ab", there, strict=True)), {"a": 0.01, "b": 0.01})
        for at, height, there in rows
    ]
    front = AmortisedFront.of(spread, points, 100)
    with pytest.raises(ValueError, match=r"got -5 for a, which is at .* with the largest sum of relative multipliers, 0.95"):
        front.multipliers_for({"a": -5.0, "b": -5.0})
    within = front.multipliers_for({"a": -0.1, "b": -0.1})
    assert 0 < sum(within.values()) < 0.9 * RELATIVE_LIMIT


def rewarded(points: int = 16) -> AmortisedFront:
    """Gaussian tilting by one reward in the user's units: KL = lambda^2 / 2 and E r = lambda, at least 1."""
    spread = spread_of(1, 2.0, kinds=("at_least",))
    multipliers = spread.measured(points)[:, 0]
    made = [FrontPoint({"a": each}, each**2 / 2, 0.01, {"a": each}, {"a": 0.01}) for each in multipliers.tolist()]
    return AmortisedFront.of(spread, made, 100)


def test_budgets_are_read_in_the_users_units_and_survive_storing():
    front = AmortisedFront.from_json(rewarded().to_json())
    assert front == rewarded()
    assert front.multipliers_for({"a": 1.2})["a"] == pytest.approx(1.2, rel=0.01)
    assert front.multipliers_for({})["a"] == 0.0  # the recipe's own: at least 0
    assert front.points[3].metrics.keys() == {"objective", "value/a", "multiplier/a", "value/max"}


def test_a_budget_out_of_reach_and_an_unknown_one_are_refused():
    said = r"got 2.5 for a, which is at (2|1.99\d*) with the largest multiplier of the range, 2; loosen it"
    with pytest.raises(ValueError, match=said):
        rewarded().multipliers_for({"a": 2.5})
    with pytest.raises(ValueError, match="must be of a, but got b"):
        rewarded().multipliers_for({"b": 1.0})
