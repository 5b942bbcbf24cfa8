"""Turning what a run logged into a trial: its constraints, and whether anyone may call it feasible.

The trainer judges feasibility from slacks and standard errors and logs the metric `feasible`. Here that
word is only believed where it can be: from a trial that has ended, and with the slacks it was judged from.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

from analysis.trials import JUDGED_STATUSES, ConstraintOutcome, Trial

_QUANTITIES = ("value", "budget", "slack", "slack_error", "multiplier", "multiplier_error")
#: Before the name of a metric: the half-width of the 95 % interval of its mean over several trainings.
INTERVAL = "interval/"
#: `value/max` is the largest value of all, not a constraint.
_AGGREGATE = "max"


def constraint_outcomes(metrics: Mapping[str, float], params: Mapping[str, str]) -> tuple[ConstraintOutcome, ...]:
    """Collect the constraints of a trial from metrics named `value/NAME`, `slack/NAME` and so on.

    `params` are the flattened recipe, which tells the equalities. One of the metrics is enough for a constraint to be known,
    so that a lost slack is noticed.
    """
    names = set()
    for key in metrics:
        quantity, _, name = key.partition("/")
        if quantity in _QUANTITIES and name and name != _AGGREGATE:
            names.add(name)
    return tuple(
        ConstraintOutcome(
            name,
            **{quantity: metrics.get(f"{quantity}/{name}", math.nan) for quantity in _QUANTITIES},
            equality=(kind := _kind(name, params)) == "equals",
            kind=kind,
        )
        for name in sorted(names)
    )


def split_intervals(metrics: Mapping[str, float]) -> tuple[dict[str, float], dict[str, float]]:
    """Take apart what a trial of several trainings logged: its metrics, and the half-widths of their intervals by metric."""
    plain = {name: value for name, value in metrics.items() if not name.startswith(INTERVAL)}
    return plain, {name.removeprefix(INTERVAL): value for name, value in metrics.items() if name.startswith(INTERVAL)}


def _kind(name: str, params: Mapping[str, str]) -> Literal["at_most", "at_least", "equals", "minimax"] | None:
    """Which bound the recipe has, a key that is not `null`; None where the params are of no recipe with this constraint."""
    there = [key for key in params if key.startswith(f"constraints.{name}.")]
    kinds: tuple[Literal["at_most", "at_least", "equals"], ...] = ("at_most", "at_least", "equals")
    given = [kind for kind in kinds if params.get(f"constraints.{name}.{kind}", "null") != "null"]
    return given[0] if given else "minimax" if there else None


def judge(trials: Sequence[Trial], objectives: Sequence[str]) -> tuple[Trial, ...]:
    """Settle `feasible` and `doubt` of every trial, looking at the whole sweep.

    A trial without slacks among trials that have them lost what it is judged by; in a sweep where no
    trial has a constraint, `feasible` = 1 is believed as long as the objectives are finite.
    """
    constrained = any(trial.constraints for trial in trials)
    return tuple(_judged(trial, objectives, constrained) for trial in trials)


def _judged(trial: Trial, objectives: Sequence[str], constrained: bool) -> Trial:
    doubt = _doubt(trial, objectives, constrained)
    if doubt:
        return replace(trial, feasible=None, doubt=doubt)
    passed = trial.metric("feasible") == 1 and trial.status != "infeasible"
    return replace(trial, feasible=passed, doubt="")


def _doubt(trial: Trial, objectives: Sequence[str], constrained: bool) -> str:
    """Return why this trial's feasibility is unknown, or an empty string where it may be judged."""
    if trial.status not in JUDGED_STATUSES:
        return f"the trial is {trial.status}, so its values are not a final evaluation"
    verdict = trial.metric("feasible")
    if verdict not in (0.0, 1.0):
        return "the metric 'feasible' is missing or not 0 or 1"
    if constrained and not trial.constraints:
        return "no slack was logged, though other trials of the sweep have constraints"
    lost = [outcome.name for outcome in trial.constraints if not math.isfinite(outcome.slack)]
    if lost:
        return f"no finite slack for {', '.join(lost)}"
    broken = [name for name in objectives if not math.isfinite(trial.metric(name))]
    if broken and not trial.constraints:
        return f"no finite value for {', '.join(broken)}"
    return ""
