"""All trials of a sweep as one CSV file, a row a trial."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

from analysis.front import Front
from analysis.trials import SweepRecord, Trial

_QUANTITIES = ("value", "budget", "slack", "slack_error", "multiplier", "multiplier_error")


def write_trials(path: Path, record: SweepRecord, front: Front) -> None:
    """Write the trials, best rank first; numbers in full precision, empty where missing.

    Columns: trial, run_id, status, feasible (true, false, or empty for unknown), front, rank, the objectives,
    the searched parameters, `value/NAME`, `budget/NAME`, `slack/NAME`, `slack_error/NAME`,
    `multiplier/NAME` and `multiplier_error/NAME` of each constraint, seconds, steps, continued_from (the trial whose end it
    started from), reason. An objective that is also a searched
    parameter's or a constraint's column appears once.
    """
    rows = [_row(record, front, trial) for trial in ordered(record, front)]
    names = ["trial", "run_id", "status", "feasible", "front", "rank", *record.objectives, *record.searched]
    names += [f"{quantity}/{name}" for name in record.constraint_names for quantity in _QUANTITIES]
    names += ["seconds", "steps", "continued_from", "reason"]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(names)), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def ordered(record: SweepRecord, front: Front) -> list[Trial]:
    """Return all trials, best rank first, the unranked last, then by id."""
    ranks = front.ranks
    return sorted(record.trials, key=lambda trial: (ranks[trial.trial_id] or math.inf, trial.trial_id))


def _row(record: SweepRecord, front: Front, trial: Trial) -> dict[str, object]:
    row: dict[str, object] = {
        "trial": trial.trial_id,
        "run_id": trial.run_id,
        "status": trial.status,
        "feasible": {True: "true", False: "false", None: ""}[trial.feasible],
        "front": "true" if front.ranks[trial.trial_id] == 1 and trial.feasible else "false",
        "rank": front.ranks[trial.trial_id],
        "seconds": trial.seconds,
        "steps": trial.steps,
        "continued_from": trial.continued_from,
        "reason": trial.doubt or trial.reason,
    }
    row |= {name: _cell(value) for name, value in trial.params.items()}
    for outcome in trial.constraints:
        row |= {f"{q}/{outcome.name}": _cell(getattr(outcome, q)) for q in _QUANTITIES}
    return row | {name: _cell(trial.metric(name)) for name in record.objectives}


def _cell(value: object) -> object:
    if isinstance(value, float) and math.isnan(value):
        return None
    return json.dumps(value) if isinstance(value, list | dict) else value
