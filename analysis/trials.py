"""The records that the review works on: a sweep, its trials, and how each constraint ended.

Signs: slack = budget - value for an `at_most` constraint and value - budget for an `at_least` one, so
a slack is positive where the constraint holds and is then the room that is left. An equality has the slack of `at_most`, and is
violated on either side.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from dualsweep.analysis.preference import Preference
from dualsweep.trainer import metric_names
from dualsweep.trainer.feasibility.standing import Standing, overall
from dualsweep.trainer.feasibility.tolerance import SHARE
from dualsweep.trainer.recipe.bound import Kind, Sense

if TYPE_CHECKING:
    from dualsweep.analysis.trial_draws import TrialDraws
    from dualsweep.trainer.amortised.front import AmortisedFront

Direction = Literal["minimize", "maximize"]
#: The marks of the last review, `dualsweep.analysis.marking`.
MARKS = ("front", "feasible", "missed", "rank", "knee", "recommended")
#: Statuses whose last values are a final evaluation; the values of any other trial are not to be trusted.
JUDGED_STATUSES = frozenset({"converged", "out_of_steps", "infeasible"})


@dataclass(frozen=True)
class ConstraintRecord:
    """How one constraint of a trial ended; a value that was never logged is NaN.

    `slack_error` is the standard error of `slack`, in the constraint's own unit, as are `value`, `budget`
    and `slack`; `multiplier` and its standard error are objective units per constraint unit. `relaxation` is what a resilient
    budget has given way by, `tolerance` by how much the value may miss its budget and count as met, and `standing` what the
    final evaluation says of it (`dualsweep.trainer.feasibility.standing`), undecided where nobody has judged it.
    """

    name: str
    value: float
    budget: float
    slack: float
    slack_error: float
    multiplier: float
    equality: bool = False
    multiplier_error: float = math.nan
    #: What it asks; None where only the numbers are known.
    kind: Kind | None = None
    relaxation: float = 0.0
    tolerance: float = 0.0
    standing: Standing = "undecided"

    @property
    def room(self) -> float:
        """What is left before the constraint is violated, negative where it is; an equality has none: -|slack|."""
        return -abs(self.slack) if self.equality else self.slack

    @property
    def violation(self) -> float:
        """By how much it misses its budget, 0 where it does not; of a resilient one, beyond its relaxed budget."""
        beyond = self.slack + self.relaxation
        return abs(beyond) if self.equality else max(0.0, -beyond)

    @property
    def relation(self) -> str:
        """`=`, or which of `≤` and `≥` makes the logged slack agree with the value and the budget."""
        if self.equality:
            return "="
        if self.kind is not None:
            return "≥" if self.kind == "at_least" else "≤"
        below = abs(self.budget - self.value - self.slack)
        above = abs(self.value - self.budget - self.slack)
        # Rounding makes both vanish where the slack is about 0; `at_most` is the convention then.
        return "≥" if above + 1e-9 * (1 + abs(self.budget)) < below else "≤"

    @property
    def stated(self) -> str:
        """The relation that the value has to the budget, so that what is printed is true: `≰` and `≱` where it is off.

        An equality is `≈` where it is met, else `≠`.
        """
        if self.equality:
            return "=" if self.value == self.budget else "≈" if self.standing == "met" else "≠"
        if self.relation == "≥":
            return "≱" if self.value < self.budget else "≥"
        return "≰" if self.value > self.budget else "≤"


@dataclass(frozen=True)
class Trial:
    """One trial of a sweep with the last logged value of every metric.

    `standing` is that of all its budgets together: met, violated, or undecided, where its draws were too few to tell. It is None
    where nobody may say: the trial has not ended well, or lacks what that is judged from; `doubt` is then the reason. Which
    trials may be on the front is another question (`SweepRecord.admission`). `seconds` is wall-clock time, None before the end.
    """

    trial_id: str
    run_id: str
    status: str
    reason: str = ""
    params: Mapping[str, object] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    constraints: tuple[ConstraintRecord, ...] = ()
    standing: Standing | None = None
    doubt: str = ""
    seconds: float | None = None
    steps: int | None = None
    #: Whether its recipe has no constraint at all, as a search over constraints may choose.
    unconstrained: bool = False
    #: The id of the trial whose end it started from; None where it started anew.
    continued_from: str | None = None
    #: What the last review wrote of it (`analysis/marking.py`): its tags without `dualsweep.`; empty before the first review.
    marked: Mapping[str, str] = field(default_factory=dict)
    #: The URI of its run's artifacts, empty where it is from no store.
    artifacts: str = ""
    #: The address of its model in MLflow, empty where none was logged.
    model: str = ""
    #: How many trainings, alike but for their seeds, the trial has, and of how many of them its figures are the means, where that
    #: is not all; `intervals` has the half-width of each metric's
    #: 95 % interval, and `feasibility` is the probability that one more of them meets its budgets.
    replicates: int = 1
    sound: int | None = None
    intervals: Mapping[str, float] = field(default_factory=dict)
    feasibility: float | None = None
    #: Samples of a primal step over all workers, and how many workers there were; None where it was not recorded.
    batch_size: int | None = None
    workers: int = 1

    def metric(self, name: str) -> float:
        """Return the last value of a metric, NaN where it was never logged."""
        return self.metrics.get(name, math.nan)

    @property
    def worst_slack(self) -> float:
        """The smallest slack, an equality's below 0 on either side; NaN where there is none or one is NaN."""
        slacks = [outcome.room for outcome in self.constraints]
        return math.nan if not slacks or any(map(math.isnan, slacks)) else min(slacks)

    @property
    def violation(self) -> float:
        """The largest violation, from `violation/max` or else from the slacks; NaN where neither is known."""
        logged = self.metric(metric_names.LARGEST_VIOLATION)
        if not math.isnan(logged) or math.isnan(self.worst_slack):
            return logged
        return max(0.0, -self.worst_slack)

    @property
    def missed(self) -> tuple[str, ...]:
        """The constraints whose budgets it is known to violate."""
        return tuple(each.name for each in self.constraints if each.standing == "violated")


@dataclass(frozen=True)
class Budget:
    """A searched parameter that bounds constraints, all in one sense: their names, and its range in the constraint's unit.

    `log` where its logarithm is drawn, `whole` where whole numbers alone are. A list of values goes from its least to its
    largest; the ends are NaN where these are no numbers.
    """

    parameter: str
    constraints: tuple[str, ...]
    sense: Sense
    low: float
    high: float
    log: bool = False
    whole: bool = False

    @property
    def is_range(self) -> bool:
        """Whether it varies, over numbers: what a front can be drawn along."""
        return self.low < self.high

    @property
    def tolerance(self) -> float | None:
        """The default tolerance of its constraints that follows from the range, the same for all trials; None where none does.

        Of a logarithmic range each trial's own budget gives it.
        """
        return SHARE * (self.high - self.low) if self.is_range and not self.log else None


@dataclass(frozen=True)
class SweepRecord:
    """One sweep as MLflow holds it: a parent run and its trials, in the order of their ids.

    `objectives` maps metric names to directions, in order; `reference_point` has one number an objective.
    """

    experiment_id: str
    experiment_name: str
    parent_run_id: str
    objectives: Mapping[str, Direction]
    reference_point: tuple[float, ...] | None = None
    trials: tuple[Trial, ...] = ()
    #: The searched budgets; empty also for sweeps that were made before they were recorded.
    budgets: tuple[Budget, ...] = ()
    #: The sampler's name and its seed; empty where they were not recorded.
    sampler: str = ""
    sampler_seed: str = ""
    #: Whether the trainings maximise their objective; the sweep's objectives need not hold it.
    maximizes: bool = False
    #: What the user prefers among the points of the front; None where nobody said.
    prefer: Preference | None = None
    #: The front of the sweep's amortised training, where it has one that has ended.
    amortised: AmortisedFront | None = None
    #: What the trials' final evaluations drew, by trial id, where it was kept.
    drawn: Mapping[str, TrialDraws] = field(default_factory=dict)
    #: The constraints whose budgets decide what may be on the front (`dualsweep.analysis.requirements`); None where all do.
    required: frozenset[str] | None = None

    def admission(self, trial: Trial) -> Standing | None:
        """Whether a trial may be on the front: met where it may, violated where a budget that decides forbids it.

        Where all budgets decide it is the trial's own standing, and one that ended as infeasible may not. Where only some do,
        the others are what the sweep varies to trace the front: a trial is admitted by what it attained, whatever it was asked
        for, and one that ended as infeasible needs a final evaluation for that. None where nobody may say.
        """
        if trial.standing is None:
            return None
        if self.required is None:
            return "violated" if trial.status == "infeasible" else trial.standing
        if trial.status == "infeasible" and not math.isfinite(trial.metric("objective_error")):
            return None
        return overall(each.standing for each in trial.constraints if each.name in self.required)

    def admitted(self, trial: Trial) -> bool:
        """Whether a trial is known to keep every budget that decides what may be on the front."""
        return self.admission(trial) == "met"

    def violation(self, trial: Trial) -> float:
        """The largest violation of the budgets that decide; NaN where it is not known."""
        if self.required is None:
            return trial.violation
        return max((each.violation for each in trial.constraints if each.name in self.required), default=0.0)

    def point(self, trial: Trial) -> tuple[float, ...]:
        """Return a trial's objective values in the order of `objectives`; NaN where one is missing."""
        return tuple(trial.metric(name) for name in self.objectives)

    @cached_property
    def constraint_names(self) -> tuple[str, ...]:
        """Every constraint that any trial has, in the order of first appearance."""
        seen = {outcome.name: None for trial in self.trials for outcome in trial.constraints}
        return tuple(seen)

    @cached_property
    def replicated(self) -> bool:
        """Whether its trials are means of several trainings."""
        return any(trial.replicates > 1 for trial in self.trials)

    @cached_property
    def searched(self) -> tuple[str, ...]:
        """Every searched parameter that any trial has, in the order of first appearance."""
        return tuple({name: None for trial in self.trials for name in trial.params})
