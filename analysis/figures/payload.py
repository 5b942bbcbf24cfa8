"""What the review page knows: one JSON object, with the fields that `page/*.js` read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from dualsweep.analysis.amortised import direction_of
from dualsweep.analysis.bands import Slice, certificate, slices
from dualsweep.analysis.columns import Column, columns, default_axes, view_range
from dualsweep.analysis.figures.marks import MARKS, kinds
from dualsweep.analysis.figures.trial_columns import rounded, trial_columns
from dualsweep.analysis.front import Front
from dualsweep.analysis.links import run_link
from dualsweep.analysis.trials import Budget, SweepRecord
from dualsweep.trainer import metric_names

RUN_URL = "/" + run_link("{experiment}", "{run}")
_DIGITS = 7
_AXES, _MULTIPLIERS = 12, 5
#: A searched parameter whose values span more than this factor has a logarithmic axis.
_LOG_FROM = 30.0


def payload(
    record: SweepRecord,
    front: Front,
    *,
    history: Sequence[float],
    base_url: str,
    thumbnails: Mapping[str, str],
    named: Mapping[str, Sequence[str]],
    said: Mapping[str, Sequence[str]],
) -> dict[str, object]:
    """Return the page's data; by trial id `thumbnails` are data URIs, `named` words such as `knee`, `said` sentences."""
    available = columns(record)
    bands = slices(record, front)
    return {
        "experiment_id": record.experiment_id,
        "base_url": base_url,
        "run_url": RUN_URL,
        "objectives": list(record.objectives),
        "directions": dict(record.objectives),
        "maximizes": record.maximizes,
        "searched": list(record.searched),
        "constraints": list(record.constraint_names),
        "axes": default_axes(record, available),
        "columns": [_column(column, record, front) for column in available],
        "marks": {key: vars(mark) for key, mark in MARKS.items()},
        "history": [_finite(value) for value in history],
        "trials": trial_columns(record.trials, kinds(record, front), front, named, available, list(record.objectives)),
        "replicated": record.replicated,
        "thumbnails": dict(thumbnails),
        "budgets": [_budget(each, record) for each in record.budgets],
        "bands": [_band(each, record.budgets) for each in bands],
        "certificate": _certificate(record, front),
        "said": {trial_id: list(sentences) for trial_id, sentences in said.items()},
        "through": _through(bands, named),
        "amortised": _amortised(record),
        "parallel": _parallel(record, available, front),
    }


def _column(column: Column, record: SweepRecord, front: Front) -> dict[str, object]:
    limits = view_range(column, record, front)
    return {
        "key": column.key,
        "label": column.label,
        "group": column.group,
        "range": limits,
        "log": column.group == "searched parameters" and _spans_decades(column),
        "values": rounded(column.values),
    }


def _spans_decades(column: Column) -> bool:
    known = [value for value in column.values if math.isfinite(value)]
    return bool(known) and min(known) > 0 and max(known) / min(known) > _LOG_FROM


def _budget(budget: Budget, record: SweepRecord) -> dict[str, object]:
    """`axes` are the columns along which the front in this budget can be drawn: the budget, and what it bounds."""
    axes = [f"param:{budget.parameter}"]
    if len(budget.constraints) == 1:
        axes.append(metric_names.value(budget.constraints[0]))
    if budget.sense == "at_most" and set(record.constraint_names) <= set(budget.constraints):
        axes.append(metric_names.LARGEST_VALUE)
    return {"constraints": list(budget.constraints), "axes": axes}


def _band(band: Slice, budgets: Sequence[Budget]) -> dict[str, object]:
    sides = {"at": band.at, "lower": band.lower, "upper": band.upper, "front": band.front}
    return {"budget": budgets.index(band.budget), "through": band.through} | {
        name: [_finite(value) for value in values] for name, values in sides.items()
    }


def _certificate(record: SweepRecord, front: Front) -> dict[str, object]:
    found = certificate(record, front)
    return {"certified": found.certified, "said": list(found.sentences)}


def _amortised(record: SweepRecord) -> dict[str, object]:
    """The points of the front of one network, by metric, and in which direction each metric is better."""
    front = record.amortised
    if front is None or not front.points:
        return {"points": [], "directions": {}}
    return {
        "points": [{key: _finite(value) for key, value in point.metrics.items()} for point in front.points],
        "directions": {key: direction_of(front, key, record.objectives) for key in front.points[0].metrics},
    }


def _through(bands: Sequence[Slice], named: Mapping[str, Sequence[str]]) -> str | None:
    """The trial whose slice is shown first: a named one, else one from the middle of the front."""
    ids = list(dict.fromkeys(band.through for band in bands if band.through))
    chosen = [trial_id for trial_id in ids if named.get(trial_id)]
    return chosen[0] if chosen else ids[len(ids) // 2] if ids else None


def _parallel(record: SweepRecord, available: Sequence[Column], front: Front) -> list[str]:
    """The axes of the parallel coordinates: what was searched, multipliers, objectives; none without two different values."""
    groups = {"searched parameters": _AXES, "multipliers": _MULTIPLIERS, "objectives": _AXES}
    keys = []
    for group, most in groups.items():
        differing = [c for c in available if c.group == group and len({v for v in c.values if math.isfinite(v)}) > 1]
        keys += [column.key for column in differing if view_range(column, record, front)][:most]
    objectives = [key for key in keys if key in record.objectives]
    others = [key for key in keys if key not in record.objectives]
    return [*others[: _AXES - len(objectives)], *objectives]


def _finite(value: float) -> float | None:
    return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None
