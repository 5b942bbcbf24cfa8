"""What can stand on an axis: every number of a sweep's trials, named, grouped and with a sensible range."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from operator import attrgetter, methodcaller

import numpy as np

from dualsweep.analysis.front import Front
from dualsweep.analysis.noise import half_width
from dualsweep.analysis.trials import SweepRecord, Trial
from dualsweep.trainer import metric_names
from dualsweep.trainer.metric_names import tells_of_another

#: Points further out than this many interquartile ranges leave the first view, unless they are on the front.
_FENCE = 3.0
_LEFT_OUT = (
    metric_names.BUDGET, metric_names.INTERVAL, metric_names.MARKS, metric_names.TOLERANCE, metric_names.STANDING,
    metric_names.RELAXATION,
)  # fmt: skip


@dataclass(frozen=True)
class Column:
    """One number of every trial: `values` [trials] in the record's order, NaN where it is missing.

    `key` is the metric's name in MLflow, or `param:NAME`, `trial number`, `worst slack`, `seconds`. `halves` [trials] are the
    half-widths of the values' 95 % intervals, over the trainings of a trial or else by its standard error; NaN where neither is.
    """

    key: str
    label: str
    group: str
    values: tuple[float, ...]
    halves: tuple[float, ...] = ()


def columns(record: SweepRecord) -> list[Column]:
    """Return the objectives, the trials' numbers and every column with at least one finite value: by group, objectives first."""
    place = {trial.trial_id: float(number) for number, trial in enumerate(record.trials, 1)}
    named = {name for trial in record.trials for name in trial.metrics}
    equalities = {outcome.name for trial in record.trials for outcome in trial.constraints if outcome.equality}
    measured = sorted(named - set(record.objectives))
    made = [
        _column(record, name, f"{name} ({direction}d)", "objectives", methodcaller("metric", name))
        for name, direction in record.objectives.items()
    ]
    made += [
        _column(record, name, metric_label(name, equalities), _group(name), methodcaller("metric", name))
        for name in measured
        if name != "feasible" and not name.startswith(_LEFT_OUT) and not tells_of_another(name, named)
    ]
    made += [
        _column(record, "worst slack", "worst slack (≥ 0: satisfied)", "slacks", attrgetter("worst_slack")),
        *(_column(record, f"param:{name}", name, "searched parameters", _param(name)) for name in record.searched),
        _column(record, "trial number", "trial number", "other", lambda trial: place[trial.trial_id]),
        _column(record, "seconds", "training time (s)", "other", attrgetter("seconds")),
    ]
    first_view = {*record.objectives, "trial number"}  # even where no trial has ended
    kept = [c for c in made if c.key in first_view or any(map(math.isfinite, c.values))]
    return sorted(kept, key=lambda column: _GROUPS.index(column.group))


def _column(record: SweepRecord, key: str, label: str, group: str, of: Callable[[Trial], object]) -> Column:
    halves = tuple(half_width(trial, key) for trial in record.trials)
    return Column(key, label, group, tuple(_number(of(trial)) for trial in record.trials), halves)


def _param(name: str) -> Callable[[Trial], object]:
    return lambda trial: trial.params.get(name)


_GROUPS = ("objectives", "values", "slacks", "multipliers", "evaluation", "searched parameters", "other")


def _group(name: str) -> str:
    prefix = name.partition("/")[0]
    known = {"value": "values", "slack": "slacks", "multiplier": "multipliers", "eval": "evaluation"}
    return known.get(prefix, "other")


def metric_label(name: str, equalities: Collection[str]) -> str:
    """Return a metric's name with what a reader needs to know of its sign; `equalities` are the names of those constraints."""
    if name.startswith(metric_names.SLACK):
        return f"{name} ({'' if name.removeprefix(metric_names.SLACK) in equalities else '≥ '}0: satisfied)"
    return f"{name} (objective per unit of value)" if name.startswith(metric_names.MULTIPLIER) else name


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan


def default_axes(record: SweepRecord, available: list[Column]) -> tuple[str, str]:
    """Return the keys of the first view: the first two objectives, or one against the worst slack."""
    objectives = list(record.objectives)
    if len(objectives) > 1:
        return objectives[0], objectives[1]
    keys = {column.key for column in available}
    return ("worst slack" if "worst slack" in keys else "trial number"), objectives[0]


def view_range(column: Column, record: SweepRecord, front: Front) -> tuple[float, float] | None:
    """Return the range of the first view: all trials except far outliers, and always all of the front.

    A diverged trial may be a thousand times worse than the rest, which would press the front into a line. The front's error bars
    are in it as far as they widen it by half on either side.
    """
    on_front = front.members
    values = np.asarray(column.values, dtype=np.float64)
    finite = values[np.isfinite(values)]
    if not len(finite):
        return None
    lower, upper = np.quantile(finite, [0.25, 0.75])
    # Where most values are equal, as multipliers at 0 are, there is no telling what is far.
    reach = _FENCE * (upper - lower) if upper > lower else math.inf
    inside = np.isfinite(values) & (values >= lower - reach) & (values <= upper + reach)
    inside |= np.isfinite(values) & np.array([trial.trial_id in on_front for trial in record.trials])
    low, high = float(values[inside].min()), float(values[inside].max())
    low, high = _with_bars(column, [trial.trial_id in on_front for trial in record.trials], low, high)
    margin = 0.06 * (high - low) or 0.06 * abs(high) or 0.06
    return low - margin, high + margin


def _with_bars(column: Column, barred: Sequence[bool], low: float, high: float) -> tuple[float, float]:
    """The range with the bars of these trials."""
    reach = 0.5 * (high - low)
    for value, half, drawn in zip(column.values, column.halves, barred, strict=True):
        if drawn and math.isfinite(value) and math.isfinite(half):
            low, high = min(low, value - min(half, reach)), max(high, value + min(half, reach))
    return low, high
