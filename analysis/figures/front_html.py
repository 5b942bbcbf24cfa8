"""The review page: one HTML file with everything in it, for MLflow's artifact viewer and for the disk.

The page needs no network. plotly.js is embedded gzipped and unpacked by the browser, about 2 MB instead of
5. What trials say (parameters, reasons, names) reaches the page as escaped text only.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from importlib import resources

from analysis.columns import Column, columns, default_axes, view_range
from analysis.figures.marks import MARKS, kinds
from analysis.figures.packed import json_for_script, packed_plotly
from analysis.front import Front
from analysis.links import run_link
from analysis.store import is_http
from analysis.text import MANY_CONSTRAINTS, MISSING, number, outcome_parts, setting, worst_text
from analysis.trials import ConstraintOutcome, SweepRecord, Trial

#: Where `mlflow ui` answers unless told otherwise.
LOCAL_UI = "http://127.0.0.1:5000"
RUN_URL = "/" + run_link("{experiment}", "{run}")
_DIGITS = 7


def front_html(
    record: SweepRecord,
    front: Front,
    *,
    hypervolume: float | None,
    reference_point: Sequence[float] | None,
    history: Sequence[float],
    base_url: str = LOCAL_UI,
) -> str:
    """Return the review page of a sweep.

    `base_url` is the MLflow UI that links lead to when the page is opened from disk; inside MLflow's own
    artifact viewer the links lead to that MLflow. `history` [trials] is the hypervolume after each trial,
    or empty.
    """
    filled = {
        "TITLE": html.escape(f"{record.experiment_name}: front"),
        "NAME": html.escape(record.experiment_name),
        "NOTE": html.escape(front.note),
        "VOLUME": html.escape(_volume_text(record, hypervolume, reference_point)),
        "TABLE": _front_table(record, front, base_url),
        "CSS": _part("front_page.css"),
        "REVIEW": json_for_script(_payload(record, front, history, base_url)),
        "PLOTLY": packed_plotly(),
        "SCRIPT": _part("front_page.js"),
    }
    # One pass over the template, so that text from a trial is never taken for a placeholder.
    pieces = _part("front_page.html").split("@@")
    return "".join(piece if place % 2 == 0 else filled[piece] for place, piece in enumerate(pieces))


def base_url_of(tracking_uri: str) -> str:
    """Return the UI that belongs to a tracking URI: the server itself, or a local one on MLflow's port."""
    return tracking_uri.rstrip("/") if is_http(tracking_uri) else LOCAL_UI


def _part(name: str) -> str:
    return resources.files("analysis.figures").joinpath(name).read_text(encoding="utf-8")


def _payload(record: SweepRecord, front: Front, history: Sequence[float], base_url: str) -> dict[str, object]:
    available = columns(record)
    return {
        "experiment_id": record.experiment_id,
        "base_url": base_url,
        "run_url": RUN_URL,
        "objectives": list(record.objectives),
        "directions": dict(record.objectives),
        "axes": default_axes(record, available),
        "columns": [_column(column, record, front) for column in available],
        "kinds": {key: mark.name for key, mark in MARKS.items()},
        "marks": {
            key: {"name": m.name, "colour": m.colour, "symbol": m.symbol, "size": m.size, "filled": m.filled}
            for key, m in MARKS.items()
        },
        "history": [_finite(value) for value in history],
        "trials": [_trial(trial, kind) for trial, kind in zip(record.trials, kinds(record, front), strict=True)],
    }


def _column(column: Column, record: SweepRecord, front: Front) -> dict[str, object]:
    return {
        "key": column.key,
        "label": column.label,
        "group": column.group,
        "range": view_range(column, record, front),
        "values": [_finite(value) for value in column.values],
    }


def _trial(trial: Trial, kind: str) -> dict[str, object]:
    return {
        "id": trial.trial_id,
        "run": trial.run_id,
        "status": trial.status,
        "reason": trial.reason,
        "doubt": trial.doubt,
        "kind": kind,
        "params": {name: setting(value) for name, value in trial.params.items()},
        "constraints": [_outcome(outcome) for outcome in trial.constraints],
    }


def _outcome(outcome: ConstraintOutcome) -> dict[str, object]:
    return {
        "name": outcome.name,
        "relation": outcome.relation,
        "value": _finite(outcome.value),
        "budget": _finite(outcome.budget),
        "slack": _finite(outcome.slack),
        "room": _finite(outcome.room),
        "slack_error": _finite(outcome.slack_error),
        "multiplier": _finite(outcome.multiplier),
    }


def _finite(value: float) -> float | None:
    return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None


def _volume_text(record: SweepRecord, volume: float | None, reference: Sequence[float] | None) -> str:
    if volume is None or reference is None:
        return ""
    where = ", ".join(f"{name} {number(value)}" for name, value in zip(record.objectives, reference, strict=True))
    return f"Hypervolume {number(volume)} against the reference point {where}."


def _front_table(record: SweepRecord, front: Front, base_url: str) -> str:
    if not front.trials:
        return '<p class="note">No trial is on the front.</p>'
    many = len(record.constraint_names) > MANY_CONSTRAINTS
    names = ("worst slack",) if many else record.constraint_names
    numeric = [*record.searched, *record.objectives]
    head = "".join(f'<th class="num">{html.escape(name)}</th>' for name in numeric)
    head += "".join(f"<th>{html.escape(name)}</th>" for name in names)
    rows = "".join(_front_row(record, trial, many, base_url) for trial in front.trials)
    return f'<div class="scroll"><table class="front-table"><tr><th>trial</th>{head}</tr>{rows}</table></div>'


def _front_row(record: SweepRecord, trial: Trial, many: bool, base_url: str) -> str:
    run_url = base_url + RUN_URL.format(experiment=record.experiment_id, run=trial.run_id)
    link = (
        f'<a data-run="{html.escape(trial.run_id)}" href="{html.escape(run_url)}" target="_blank" '
        f'rel="noopener">{html.escape(trial.trial_id)}</a>'
    )
    numbers = [
        *(setting(trial.params.get(name, MISSING)) for name in record.searched),
        *(number(value) for value in record.point(trial)),
    ]
    cells = "".join(f'<td class="num">{html.escape(cell)}</td>' for cell in numbers)
    if many:
        return f"<tr><td>{link}</td>{cells}<td>{html.escape(worst_text(trial))}</td></tr>"
    outcomes = {outcome.name: outcome_parts(outcome) for outcome in trial.constraints}
    for name in record.constraint_names:
        bound, error, multiplier = outcomes.get(name, (MISSING, "", ""))
        cells += f'<td>{html.escape(bound)}<div class="note">{html.escape(f"{error} {multiplier}")}</div></td>'
    return f"<tr><td>{link}</td>{cells}</tr>"
