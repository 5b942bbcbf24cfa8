"""Who decides that a running trial stops: it takes points as they are reported and asks the rules at fixed places of a run.

A decision depends on what was reported before it, by this trial and the others, and on nothing else: not on the clock, and not
on how points came together in reports. The rules that forecast are asked at every twentieth of a trial's steps, so that a trial
is not put to the test, and to the risk of a wrong stop, at every point; `halving` is asked at its rungs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dualsweep.analysis.trials import Direction
from dualsweep.sweeps.early_stopping.dominated import dominated
from dualsweep.sweeps.early_stopping.halving import Rungs, Standing, cost
from dualsweep.sweeps.early_stopping.infeasible import infeasible, shortfall
from dualsweep.sweeps.early_stopping.watched import Watched
from dualsweep.sweeps.planning.schema import EarlyStopping
from dualsweep.trainer import metric_names
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.result import ConstraintOutcome, Result

#: Where the forecasts are looked at, in shares of a trial's steps: every `_EVERY`, from `_FROM` on and before `_UNTIL`, where
#: hardly anything is left to save.
_EVERY, _FROM, _UNTIL = 0.05, 0.3, 0.95
Point = tuple[int, Mapping[str, float]]


@dataclass(frozen=True)
class Stop:
    """A decision to stop: the rule (infeasible, dominated or halving) and the reason in words."""

    rule: str
    reason: str


class EarlyStopper:
    """Watches all trainings of a sweep, by name."""

    def __init__(
        self, rules: EarlyStopping, objectives: Mapping[str, Direction], required: frozenset[str] | None = None
    ) -> None:  # fmt: skip
        """`required` are the constraints whose budgets decide what may be on the front, None for all."""
        self._rules, self._objectives, self._required = rules, objectives, required
        self._rungs = Rungs(rules.halving.first, rules.halving.reduction) if rules.halving else None
        self._trials: dict[str, Watched] = {}

    def begin(self, trial: Watched, points: Iterable[Point] = ()) -> Stop | None:
        """A training that starts, or starts again with the points it has reported; what is to be said at the last of them."""
        self._trials[trial.name] = trial
        verdict = None
        for step, metrics in points:
            verdict = self.take(trial.name, step, metrics)
        return verdict

    def take(self, name: str, step: int, metrics: Mapping[str, float]) -> Stop | None:
        """Takes a point of a running trial, beyond those before it: whether it stops there."""
        trial = self._trials[name]
        before = trial.step
        trial.add(step, metrics)
        if step >= trial.steps:
            return None
        return self._forecast(trial, before) or self._halved(trial, before)

    def end(self, name: str, result: Result) -> None:
        """A training has ended, or was stopped."""
        self._trials[name].end(result, self._objectives)

    def recall(self, trial: Watched, points: Iterable[Point], result: Result) -> None:
        """A training that ended in an earlier run of the sweep."""
        self._trials[trial.name] = trial
        for step, metrics in points:
            before = trial.step
            trial.add(step, metrics)
            self._halved(trial, before)
        trial.end(result, self._objectives)

    def _forecast(self, trial: Watched, before: int) -> Stop | None:
        share = trial.step / trial.steps
        looks = [int(step / trial.steps / _EVERY + 1e-9) for step in (before, trial.step)]
        if looks[0] == looks[1] or not _FROM <= share < _UNTIL:
            return None
        ended = [each for each in self._trials.values() if each.result is not None]
        if self._rules.infeasible and (reason := infeasible(trial, ended)):
            return Stop("infeasible", reason)
        rule = self._rules.dominated
        if rule and (reason := dominated(trial, ended, self._objectives, rule.confidence, self._required)):
            return Stop("dominated", reason)
        return None

    def _halved(self, trial: Watched, before: int) -> Stop | None:
        level = self._rungs.passed(before, trial.step, trial.steps) if self._rungs else None
        if self._rungs is None or level is None or not trial.stands:
            return None
        reason = self._rungs.record(level, trial.trial, self._standing(trial))
        return Stop("halving", reason) if reason else None

    def _standing(self, trial: Watched) -> Standing:
        """Where a trial stands now. A constraint that may yet be met is not held against it: tight budgets take longer."""
        ended = [each for each in self._trials.values() if each.result is not None]
        deciding = [each for each in trial.bounds if self._required is None or each.name in self._required]
        short = [found for bound in deciding if (found := shortfall(trial, bound, ended)) is not None]
        signs = [-1.0 if direction == "maximize" else 1.0 for direction in self._objectives.values()]
        levels = [trial.now(metric).value for metric in self._objectives]
        return Standing(cost(levels, signs), max((-each.best for each in short), default=0.0))


def stopped(last: Point | None, stop: Stop, recipe: Recipe, seconds: float) -> Result:
    """The result of a training that was stopped: its last point, which is no final evaluation; nothing where it had none."""
    step, metrics = last or (0, {})
    nan = math.nan
    outcomes = {
        constraint.name: ConstraintOutcome(
            value=metrics.get(metric_names.value(constraint.name), nan),
            budget=metrics.get(metric_names.budget(constraint.name), nan),
            slack=metrics.get(metric_names.slack(constraint.name), nan),
            slack_error=metrics.get(metric_names.slack_error(constraint.name), nan),
            multiplier=metrics.get(metric_names.multiplier(constraint.name), nan),
            kind=constraint.kind,
            relaxation=metrics.get(metric_names.relaxation(constraint.name), 0.0),
        )
        for constraint in recipe.constraints
    }
    return Result(
        status="stopped", reason=stop.reason, objective=metrics.get("objective", nan), objective_error=nan,
        constraints=outcomes, feasible="undecided", steps=step, seconds=seconds, checkpoint=None, metrics=dict(metrics),
        stopped_by=stop.rule,
    )  # fmt: skip
