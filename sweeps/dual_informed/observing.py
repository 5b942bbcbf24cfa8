"""From Optuna's trials to arrays and back: which budgets were asked for, and what came of each.

The user's signs end here: a maximised objective is negated, and `at_least c` becomes g = -value <= -c.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from dualsweep.analysis.certified.axes import Axis, Box
from dualsweep.analysis.certified.observations import Observations, Vector
from dualsweep.analysis.trials import Budget
from dualsweep.sweeps.dual_informed.outcome import ATTRIBUTE, Outcome
from dualsweep.sweeps.dual_informed.search import History


def distribution(budget: Budget) -> FloatDistribution | IntDistribution:
    """How Optuna draws a budget."""
    if budget.whole:
        return IntDistribution(int(budget.low), int(budget.high), log=budget.log)
    return FloatDistribution(budget.low, budget.high, log=budget.log)


@dataclass(frozen=True)
class Translator:
    """Between the user's numbers and those of the search; `maximize` is the direction of the objective.

    A tied budget bounds several constraints of the same sense.

    Raises:
        ValueError: a budget without a constraint, over no range, or of an equality that several constraints share.
    """

    budgets: Sequence[Budget]
    maximize: bool
    base: Outcome | None

    def __post_init__(self) -> None:
        for budget in self.budgets:
            if not budget.constraints or not budget.is_range:
                raise ValueError(
                    f"a budget must bound a constraint and have low < high, but got {budget}; fix what is not searched"
                )
            if budget.sense == "equals" and len(budget.constraints) > 1:
                raise ValueError(
                    f"a budget with sense equals must bound one constraint, but got {budget}; give each a parameter of its own"
                )

    @cached_property
    def box(self) -> Box:
        """The budgets' box, in the order of `budgets`."""
        return Box(tuple(Axis(each.low, each.high, each.sense, each.log, 1.0 if each.whole else None) for each in self.budgets))

    @property
    def sign(self) -> float:
        """-1 where the objective is maximised."""
        return -1.0 if self.maximize else 1.0

    @property
    def signs(self) -> Vector:
        """b = sign c, [m]."""
        return np.array([axis.sign for axis in self.box.axes])

    def params(self, budgets: Vector) -> dict[str, float | int]:
        """The user's numbers of budgets [m]."""
        numbers = budgets * self.signs
        return {
            each.parameter: round(number) if each.whole else float(number)
            for each, number in zip(self.budgets, numbers, strict=True)
        }

    def asked(self, params: Mapping[str, float]) -> Vector:
        """Budgets [1, m] of a trial's parameters."""
        return np.array([[float(params[each.parameter]) for each in self.budgets]]) * self.signs

    def history(self, trials: Sequence[FrozenTrial]) -> History:
        """What the trials say, in their order, the base model first.

        Raises:
            RuntimeError: trials are complete and none has an outcome.
        """
        mine = [trial for trial in trials if {each.parameter for each in self.budgets} <= set(trial.params)]
        complete = [trial for trial in mine if trial.state is TrialState.COMPLETE]
        told = [trial for trial in complete if ATTRIBUTE in trial.user_attrs]
        if complete and not told:
            raise RuntimeError(
                f"a complete trial must have an outcome, but none of {len(complete)} has the user attribute `{ATTRIBUTE}`; "
                "call dualsweep.sweeps.dual_informed.report(trial, Outcome(...)) before the trial ends"
            )
        rows = [(trial.params, Outcome.from_json(trial.user_attrs[ATTRIBUTE])) for trial in told]
        failed = [each for each in mine if each.state.is_finished() and each not in told]
        pending = [trial for trial in mine if trial.state is TrialState.RUNNING]
        return History(self.observed(rows), self._many(failed), self._many(pending), int(self.base is not None))

    def _many(self, trials: Sequence[FrozenTrial]) -> Vector:
        return np.concatenate([np.zeros((0, len(self.budgets))), *(self.asked(trial.params) for trial in trials)])

    def _nothing(self) -> Observations:
        shared = [i for i, budget in enumerate(self.budgets) for _ in budget.constraints]
        return Observations.none(np.array(shared, dtype=np.intp), self.box.signed)

    def _free(self, base: Outcome) -> Observations:
        row = self._row(np.zeros((1, len(self.budgets))), base)
        return replace(row, asked=row.attained)

    def observed(self, trials: Sequence[tuple[Mapping[str, float], Outcome]]) -> Observations:
        """Trials by their parameters and outcomes, the base model first."""
        joined = self._nothing() if self.base is None else self._free(self.base)
        for params, outcome in trials:
            joined = joined.joined(self._row(self.asked(params), outcome))
        return joined

    def _row(self, asked: Vector, outcome: Outcome) -> Observations:
        names = [(name, axis.sign) for each, axis in zip(self.budgets, self.box.axes, strict=True) for name in each.constraints]
        missing = [name for name, _ in names if name not in outcome.values]
        if missing:
            raise RuntimeError(
                f"an outcome must tell of every constraint with a searched budget, but got nothing of {missing}; "
                f"it has {sorted(outcome.values)}"
            )
        nothing = self._nothing()
        reached = outcome.objective if outcome.attained is None else outcome.attained
        return replace(
            nothing,
            asked=asked,
            objective=np.array([self.sign * outcome.objective]),
            reached=np.array([self.sign * reached if outcome.attains else np.inf]),
            values=np.array([[sign * outcome.values[name] for name, sign in names]]),
            multipliers=np.array([[outcome.multipliers[name] for name, _ in names]]),
            objective_error=np.array([outcome.objective_error]),
            value_errors=np.array([[outcome.value_errors.get(name, 0.0) for name, _ in names]]),
            multiplier_errors=np.array([[outcome.multiplier_errors.get(name, 0.0) for name, _ in names]]),
        )
