"""How an amortised training ends at the multipliers of its own budgets."""

from __future__ import annotations

import numpy as np
import pytest

from dualsweep.trainer.amortised.policy import AmortisedMultipliers
from dualsweep.trainer.amortised.spread import MultiplierRange
from dualsweep.trainer.dual.problem import ConstrainedProblem
from dualsweep.trainer.dual.reduction import Reduction
from dualsweep.trainer.feasibility.standing import Standing
from dualsweep.trainer.recipe.bound import RELATIVE_LIMIT
from dualsweep.trainer.result import ConstraintOutcome

RAISE = ", or raise `high` of its range (amortised.multipliers, by_constraint)"


def policy(relative: bool, high: float) -> AmortisedMultipliers:
    problem = ConstrainedProblem(("a", "b"), np.full(2, -1.0), np.full(2, relative))
    return AmortisedMultipliers(MultiplierRange(problem, np.full(2, 0.003), np.full(2, high), 0.1, 0), Reduction(problem, 10), 5)


@pytest.mark.parametrize(
    ("relative", "high", "multiplier", "said"),
    [
        (True, RELATIVE_LIMIT, 0.475, ", with the largest sum of relative multipliers, 0.95: loosen that budget"),
        (False, 2.0, 2.0, f", with the largest multiplier of the range, 2: loosen that budget{RAISE}"),
    ],
)
def test_a_budget_that_no_multiplier_of_the_range_reaches_is_infeasible(relative, high, multiplier, said):
    made = policy(relative, high)
    standings: dict[str, Standing] = {"a": "violated", "b": "met"}
    ended = {name: ConstraintOutcome(0.5, -1.0, -1.5, 0.01, multiplier, decided=each) for name, each in standings.items()}
    status, reason = made.ending(made.controller.first(), ended)
    assert status == "infeasible" and reason == f"`a` is at 0.5, off its budget -1{said}"


def test_a_budget_that_is_missed_within_the_range_is_not():
    made = policy(True, RELATIVE_LIMIT)
    ended = {name: ConstraintOutcome(0.5, -1.0, -1.5, 0.01, 0.3, decided="violated") for name in "ab"}
    assert made.ending(made.controller.first(), ended)[0] == "out_of_steps"
