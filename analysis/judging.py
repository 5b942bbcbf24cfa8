"""Turning what a run logged into a trial: its constraints, and whether anyone may say that it meets them.

The trainer's final evaluation judges each constraint and logs `standing/NAME` and `tolerance/NAME`. Here that is only believed
where it can be: from a trial that has ended, and with the slacks it was judged from. Runs of before have neither: their
constraints are judged anew, from the slack, its standard error and the tolerance that the recipe would have had.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from dualsweep.analysis.trials import JUDGED_STATUSES, Budget, ConstraintRecord, Trial
from dualsweep.trainer import metric_names
from dualsweep.trainer.feasibility.standing import Slack, Standing, overall, standing_of
from dualsweep.trainer.feasibility.tolerance import NORMALISED, OF_OBJECTIVE, SHARE
from dualsweep.trainer.recipe.bound import Kind

_QUANTITIES = ("value", "budget", "slack", "slack_error", "multiplier", "multiplier_error")
#: The metric `standing/NAME`.
_STANDINGS: Mapping[float, Standing] = {1.0: "met", 0.0: "undecided", -1.0: "violated"}
#: `value/max` is the largest value of all, not a constraint.
_AGGREGATE = "max"


def constraint_outcomes(
    metrics: Mapping[str, float], params: Mapping[str, str], budgets: Sequence[Budget] = ()
) -> tuple[ConstraintRecord, ...]:
    """Collect the constraints of a trial from metrics named `value/NAME`, `slack/NAME` and so on.

    `params` are the flattened recipe, which tells the equalities, and `budgets` those that the sweep searched. One of the metrics
    is enough for a constraint to be known, so that a lost slack is noticed.
    """
    names = set()
    for key in metrics:
        quantity, _, name = key.partition("/")
        if quantity in _QUANTITIES and name and name != _AGGREGATE:
            names.add(name)
    records = []
    for name in sorted(names):
        kind = _kind(name, params)
        figures = (metrics.get(f"{quantity}/{name}", math.nan) for quantity in _QUANTITIES)
        value, budget, slack, slack_error, multiplier, multiplier_error = figures
        outcome = ConstraintRecord(
            name, value, budget, slack, slack_error, multiplier, kind == "equals", multiplier_error, kind,
            metrics.get(metric_names.relaxation(name), 0.0),
        )  # fmt: skip
        tolerance = metrics.get(metric_names.tolerance(name))
        if tolerance is None:
            tolerance = _default_tolerance(outcome, metrics, params, budgets)
        outcome = replace(outcome, tolerance=tolerance)
        said = _STANDINGS.get(metrics.get(metric_names.standing(name), math.nan))
        records.append(replace(outcome, standing=said or _judged_anew(outcome, len(names))))
    return tuple(records)


def _judged_anew(outcome: ConstraintRecord, among: int) -> Standing:
    """By one look at the slack; undecided where its error is not known."""
    slack = Slack(outcome.slack + outcome.relaxation, outcome.slack_error)
    return standing_of(slack, outcome.kind or "at_most", outcome.tolerance, among=among)


def _default_tolerance(
    outcome: ConstraintRecord, metrics: Mapping[str, float], params: Mapping[str, str], budgets: Sequence[Budget]
) -> float:
    """What a recipe gives where it says nothing (docs/recipe.md), of a run from before tolerances were recorded."""
    name = outcome.name
    reward = params.get(f"constraints.{name}.reward", "null") != "null" or metric_names.scale(name, "std") in metrics
    if reward and params.get("rollout.normalize") == "true":
        return NORMALISED
    searched = next((each for each in budgets if name in each.constraints), None)
    if searched is not None and searched.tolerance is not None:
        return searched.tolerance
    if outcome.budget == 0:
        return OF_OBJECTIVE * abs(metrics.get("objective", math.nan))
    return SHARE * abs(outcome.budget)


def split_intervals(metrics: Mapping[str, float]) -> tuple[dict[str, float], dict[str, float]]:
    """Take apart what a trial of several trainings logged: its metrics, and the half-widths of their intervals by metric."""
    plain = {name: value for name, value in metrics.items() if not name.startswith(metric_names.INTERVAL)}
    return plain, {
        name.removeprefix(metric_names.INTERVAL): value
        for name, value in metrics.items()
        if name.startswith(metric_names.INTERVAL)
    }


def _kind(name: str, params: Mapping[str, str]) -> Kind | None:
    """Which bound the recipe has, a key that is not `null`; None where the params are of no recipe with this constraint."""
    there = [key for key in params if key.startswith(f"constraints.{name}.")]
    kinds: tuple[Kind, ...] = ("at_most", "at_least", "equals")
    given = [kind for kind in kinds if params.get(f"constraints.{name}.{kind}", "null") != "null"]
    return given[0] if given else "minimax" if there else None


def judge(trials: Sequence[Trial], objectives: Sequence[str]) -> tuple[Trial, ...]:
    """Settle `standing` and `doubt` of every trial, looking at the whole sweep.

    A trial without slacks among trials that have them lost what it is judged by; in a sweep where no
    trial has a constraint, `feasible` = 1 is believed as long as the objectives are finite.
    """
    constrained = any(trial.constraints for trial in trials)
    return tuple(_judged(trial, objectives, constrained) for trial in trials)


def _judged(trial: Trial, objectives: Sequence[str], constrained: bool) -> Trial:
    doubt = _doubt(trial, objectives, constrained)
    if doubt:
        return replace(trial, standing=None, doubt=doubt)
    if not trial.constraints:
        return replace(trial, standing="met" if trial.metric("feasible") == 1 else "violated", doubt="")
    return replace(trial, standing=overall(each.standing for each in trial.constraints), doubt="")


def _doubt(trial: Trial, objectives: Sequence[str], constrained: bool) -> str:
    """Return why this trial's feasibility is unknown, or an empty string where it may be judged."""
    if trial.status not in JUDGED_STATUSES:
        return f"the trial is {trial.status}, so its values are not a final evaluation"
    verdict = trial.metric("feasible")
    if verdict not in (0.0, 1.0):
        return "the metric 'feasible' is missing or not 0 or 1"
    if constrained and not trial.constraints and not trial.unconstrained:
        return "no slack was logged, though other trials of the sweep have constraints"
    lost = [outcome.name for outcome in trial.constraints if not math.isfinite(outcome.slack)]
    if lost:
        return f"no finite slack for {', '.join(lost)}"
    broken = [name for name in objectives if not math.isfinite(trial.metric(name))]
    if broken and not trial.constraints:
        return f"no finite value for {', '.join(broken)}"
    return ""
