"""Several trainings of one trial, alike but for their seeds, taken together: means, intervals, probability of feasibility.

Of R trainings' figures m_r, each with its own standard error e_r (of the evaluation), the mean has

    standard error   sqrt(max(s^2, mean e_r^2) / R)         s^2 = sum (m_r - mean)^2 / (R - 1)
    interval         mean ± t(0.975; R - 1) x standard error

s^2 estimates the variance between seeds and that within trainings together, since every m_r has both in it; but few
trainings may lie close together by luck, and the mean is never surer than its parts' own errors allow. So the interval covers
the mean over all seeds at least 95 % of the time where figures are normal.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.special import stdtr, stdtrit

from dualsweep.analysis.trials import JUDGED_STATUSES
from dualsweep.trainer import metric_names
from dualsweep.trainer.engine.training_metrics import standings
from dualsweep.trainer.feasibility.standing import CONFIDENCE, Slack, Standing, fixed_criticals, standing_of
from dualsweep.trainer.result import UNTOLD, ConstraintOutcome, Result, Status, feasibility

LEVEL = 0.95
#: Metrics that are no figures of a training.
_NO_FIGURES = (metric_names.BUDGET, metric_names.TOLERANCE, metric_names.STANDING, metric_names.FEASIBLE)
#: From the best end of a training to the worst, of those with figures to rely on.
_ORDER: tuple[Status, ...] = ("converged", "out_of_steps", "infeasible")


@dataclass(frozen=True)
class Replicates:
    """The ended trainings of one trial, by seed. Those that ended without figures to rely on are left out of all means."""

    runs: Mapping[int, Result]

    @cached_property
    def sound(self) -> list[Result]:
        """The trainings with a final evaluation, in the order of their seeds."""
        return [each for _, each in sorted(self.runs.items()) if each.status in JUDGED_STATUSES]

    @property
    def shown(self) -> int:
        """The seed of the training whose samples and checkpoint stand for the trial: the first sound one, else the first.

        Of a trial that was stopped it is the one that reported most: others may never have begun.
        """
        if self.stopped:
            return max(self.runs, key=lambda seed: (self.runs[seed].status == "stopped", self.runs[seed].steps, -seed))
        return min(self.runs, key=lambda seed: (self.runs[seed].status not in JUDGED_STATUSES, seed))

    @property
    def stopped(self) -> bool:
        """Whether the trial was stopped, which it is with any of its trainings."""
        return any(each.status == "stopped" for each in self.runs.values())

    @cached_property
    def result(self) -> Result:
        """The trial's own result: means with their standard errors; the mean slacks and their scatter tell what is met.

        `seconds` are of all trainings together, `steps` the most of one; the checkpoint is that of `shown`. Where no training
        is sound, it is the first one's end; where one was stopped, that is.
        """
        if self.stopped:
            return replace(self.runs[self.shown], seconds=self._seconds)
        if not self.sound:
            return replace(self.runs[self.shown], reason=self._reason({}), seconds=self._seconds)
        objective, error = _mean([each.objective for each in self.sound], [each.objective_error for each in self.sound])
        constraints = {name: self._outcome(name) for name in self.sound[0].constraints}
        status = self._status
        feasible = feasibility(status, constraints)
        return Result(
            status, self._reason(constraints), objective, error, constraints, feasible,
            max(each.steps for each in self.sound), self._seconds, self.runs[self.shown].checkpoint,
            self._metrics(error, constraints, feasible),
        )  # fmt: skip

    @cached_property
    def intervals(self) -> dict[str, float]:
        """Half-widths of the 95 % intervals of the metrics' means; empty with fewer than two sound trainings."""
        half_widths = {}
        for metric in _names(self.sound):
            values, errors = _measured(self.sound, metric)
            if len(values) > 1 and "_error" not in metric and not metric.startswith(_NO_FIGURES):
                half_widths[metric] = float(stdtrit(len(values) - 1, 0.5 + LEVEL / 2)) * _mean(values, errors)[1]
        return half_widths

    @cached_property
    def feasibility(self) -> float | None:
        """The probability that one more training with these settings, and another seed, is found to meet its budgets.

        It is where every slack it measures is above minus its tolerance by what one look with the others' errors needs at the
        confidence of 0.95 (`trainer/feasibility/standing.py`). The next slack is predicted from the R that were seen by
        Student's t with R - 1 degrees of freedom, at their mean and with the scale sqrt(max(s^2, mean e_r^2) (1 + 1 / R)): the
        predictive distribution of a normal figure with unknown mean and variance. Constraints are taken as independent of each
        other, which is on the low side where they go up and down together. A training that diverges meets nothing, so the whole
        is multiplied by the part that did not; one that failed says nothing. None with fewer than two sound trainings.
        """
        judged = sum(each.status in (*JUDGED_STATUSES, "diverged") for each in self.runs.values())
        if len(self.sound) < 2:
            return None
        chance = math.prod(_chance([each.constraints[name] for each in self.sound]) for name in self.sound[0].constraints)
        return chance * len(self.sound) / judged

    @property
    def _seconds(self) -> float:
        return sum(each.seconds for each in self.runs.values())

    @property
    def _status(self) -> Status:
        """How the middle one of the sound trainings ended, of two the worse."""
        ends = sorted((each.status for each in self.sound), key=_ORDER.index)
        return ends[len(ends) // 2]

    def _outcome(self, name: str) -> ConstraintOutcome:
        outcomes = [run.constraints[name] for run in self.sound]
        slack, slack_error = _mean([one.slack for one in outcomes], [one.slack_error for one in outcomes])
        multiplier, multiplier_error = _mean([one.multiplier for one in outcomes], [one.multiplier_error for one in outcomes])
        value, budget, relaxation, tolerance = (
            float(np.mean([getattr(one, figure) for one in outcomes]))
            for figure in ("value", "budget", "relaxation", "tolerance")
        )
        known = len(outcomes) > 1 or math.isfinite(outcomes[0].multiplier_error)
        measured = Slack(slack + relaxation, slack_error, degrees=len(outcomes) - 1 if len(outcomes) > 1 else math.inf)
        standing = standing_of(measured, outcomes[0].kind, tolerance, among=len(self.sound[0].constraints))
        return ConstraintOutcome(
            value, budget, slack, slack_error, multiplier, outcomes[0].kind, relaxation,
            multiplier_error if known else math.nan, tolerance, standing,
        )  # fmt: skip

    def _metrics(self, error: float, constraints: Mapping[str, ConstraintOutcome], feasible: Standing) -> dict[str, float]:
        means = {name: _mean(*_measured(self.sound, name))[0] for name in _names(self.sound)}
        for name, outcome in constraints.items():
            means[f"slack_error/{name}"] = outcome.slack_error
            if math.isfinite(outcome.multiplier_error):
                means[f"multiplier_error/{name}"] = outcome.multiplier_error
        means |= standings(constraints)
        return {**means, "objective_error": error, "feasible": float(feasible == "met")}

    def _reason(self, constraints: Mapping[str, ConstraintOutcome]) -> str:
        counts = Counter(each.status for each in self.runs.values())
        ends = ", ".join(f"{counts[status]} {status.replace('_', ' ')}" for status in (*_ORDER, *self._unsound) if counts[status])
        said = f"of {len(self.runs)} trainings {ends}"
        violated = [
            f"`{name}` by {each.violation:.4g} ± {each.slack_error:.2g}"
            for name, each in constraints.items()
            if each.standing == "violated"
        ]
        if violated:
            said += "; violated in the mean: " + ", ".join(violated)
        elif constraints and all(each.met for each in constraints.values()):
            said += "; every constraint is met in the mean"
        said += "".join(f"; seed {seed} is left out: {text}" for seed, text in self._left_out())
        return said + (f"; {UNTOLD}" if any(each.reason.endswith(UNTOLD) for each in self.runs.values()) else "")

    @property
    def _unsound(self) -> list[Status]:
        return sorted({each.status for each in self.runs.values()} - JUDGED_STATUSES)

    def _left_out(self) -> Iterator[tuple[int, str]]:
        for seed, result in sorted(self.runs.items()):
            if result.status not in JUDGED_STATUSES:
                yield seed, f"{result.status}, {result.reason}"


def _names(runs: Sequence[Result]) -> list[str]:
    return list(dict.fromkeys(name for each in runs for name in each.metrics))


def _measured(runs: Sequence[Result], metric: str) -> tuple[list[float], list[float]]:
    """A metric of the runs that have it, and its standard errors, NaN where a run does not know them."""
    having = [each for each in runs if metric in each.metrics]
    return [each.metrics[metric] for each in having], [_error(each, metric) for each in having]


def _error(run: Result, metric: str) -> float:
    kind, _, name = metric.partition("/")
    if metric == "objective":
        return run.objective_error
    outcome = run.constraints.get(name)
    if outcome is None:
        return math.nan
    return {"slack": outcome.slack_error, "value": outcome.slack_error, "multiplier": outcome.multiplier_error}.get(
        kind, math.nan
    )


def _mean(values: Sequence[float], errors: Sequence[float]) -> tuple[float, float]:
    """The mean over trainings and its standard error; of one training its own."""
    return float(np.mean(values)), math.sqrt(_variance(values, errors) / len(values))


def _variance(values: Sequence[float], errors: Sequence[float]) -> float:
    """The variance of one training's figure over seeds and evaluations: max(s^2, mean e^2); an unknown error counts as 0."""
    within = float(np.mean(np.nan_to_num(np.asarray(errors, dtype=np.float64)) ** 2))
    return max(float(np.var(values, ddof=1)), within) if len(values) > 1 else within


def _chance(outcomes: Sequence[ConstraintOutcome]) -> float:
    """The probability that the next training meets one constraint."""
    beyond = [each.slack + each.relaxation for each in outcomes]
    errors = [each.slack_error for each in outcomes]
    allowed = outcomes[0].tolerance - fixed_criticals(CONFIDENCE, 1, "at_most").met * float(np.mean(np.nan_to_num(errors)))
    mean, count = float(np.mean(beyond)), len(outcomes)
    scale = math.sqrt(_variance(beyond, errors) * (1 + 1 / count))
    if scale == 0:
        met = abs(mean) <= allowed if outcomes[0].kind == "equals" else mean >= -allowed
        return float(met)
    above = float(stdtr(count - 1, (mean + allowed) / scale))
    if outcomes[0].kind != "equals":
        return above
    return max(0.0, above - float(stdtr(count - 1, (mean - allowed) / scale)))
