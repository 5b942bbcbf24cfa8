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
from dualsweep.analysis.certified.seeds import widened
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

    def asked(self, params: Sequence[Mapping[str, float]]) -> Vector:
        """Budgets [N, m] of the parameters of N trials."""
        names = [each.parameter for each in self.budgets]
        return np.array([[float(each[name]) for name in names] for each in params]).reshape(-1, len(names)) * self.signs

    def history(self, trials: Sequence[FrozenTrial]) -> History:
        """What the trials say, in their order, the base model first.

        Raises:
            RuntimeError: trials are complete and none has an outcome.
        """
        names = {each.parameter for each in self.budgets}
        mine = [trial for trial in trials if names <= trial.params.keys()]
        complete = [trial for trial in mine if trial.state is TrialState.COMPLETE]
        told = [trial for trial in complete if ATTRIBUTE in trial.user_attrs]
        if complete and not told:
            raise RuntimeError(
                f"a complete trial must have an outcome, but none of {len(complete)} has the user attribute `{ATTRIBUTE}`; "
                "call dualsweep.sweeps.dual_informed.report(trial, Outcome(...)) before the trial ends"
            )
        rows = [(trial.params, Outcome.from_json(trial.user_attrs[ATTRIBUTE])) for trial in told]
        heard = {trial.number for trial in told}
        failed = self.asked([each.params for each in mine if each.state.is_finished() and each.number not in heard])
        pending = self.asked([each.params for each in mine if each.state is TrialState.RUNNING])
        return History(self.observed(rows), failed, pending, int(self.base is not None))

    def _nothing(self) -> Observations:
        shared = [i for i, budget in enumerate(self.budgets) for _ in budget.constraints]
        return Observations.none(np.array(shared, dtype=np.intp), self.box.signed)

    def _free(self, base: Outcome) -> Observations:
        row = self._rows(np.zeros((1, len(self.budgets))), [base])
        return replace(row, asked=row.attained)

    def observed(self, trials: Sequence[tuple[Mapping[str, float], Outcome]]) -> Observations:
        """Trials by their parameters and outcomes, the base model first."""
        joined = self._nothing() if self.base is None else self._free(self.base)
        if not trials:
            return joined
        return joined.joined(self._rows(self.asked([params for params, _ in trials]), [outcome for _, outcome in trials]))

    def _rows(self, asked: Vector, outcomes: Sequence[Outcome]) -> Observations:
        """Trials with budgets `asked` [n, m] and these outcomes [n]."""
        names = [(name, axis.sign) for each, axis in zip(self.budgets, self.box.axes, strict=True) for name in each.constraints]
        for outcome in outcomes:
            if missing := [name for name, _ in names if name not in outcome.values]:
                raise RuntimeError(
                    f"an outcome must tell of every constraint with a searched budget, but got nothing of {missing}; "
                    f"it has {sorted(outcome.values)}"
                )
        trainings = np.array([each.trainings for each in outcomes])
        errors = np.array([[each.value_errors.get(name, 0.0) for name, _ in names] for each in outcomes])
        price_errors = np.array([[each.multiplier_errors.get(name, 0.0) for name, _ in names] for each in outcomes])
        return replace(
            self._nothing(),
            asked=asked,
            objective=np.array([self.sign * each.objective for each in outcomes]),
            reached=np.array([self._reached(each) for each in outcomes]),
            values=np.array([[sign * each.values[name] for name, sign in names] for each in outcomes]),
            multipliers=np.array([[each.multipliers[name] for name, _ in names] for each in outcomes]),
            objective_error=widened(np.array([each.objective_error for each in outcomes]), trainings),
            value_errors=widened(errors, trainings),
            multiplier_errors=widened(price_errors, trainings),
        )

    def _reached(self, outcome: Outcome) -> float:
        if not outcome.attains:
            return np.inf
        return self.sign * (outcome.objective if outcome.attained is None else outcome.attained)
