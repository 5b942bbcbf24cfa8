"""All trials of a sweep as one CSV file, a row a trial."""

from __future__ import annotations

import csv
import io
import json
import math
import unicodedata
from pathlib import Path

from dualsweep.analysis.front import Front
from dualsweep.analysis.prices.shadow import Prices
from dualsweep.analysis.recommendation.recommend import Recommendation
from dualsweep.analysis.trials import SweepRecord, Trial
from dualsweep.trainer import metric_names
from dualsweep.trainer.storage import write_file

#: What begins a formula to a spreadsheet, behind blanks and quotes; in any of the widths that characters have.
_FORMULAS = ("=", "+", "-", "@", "|", "%")
_QUANTITIES = ("value", "budget", "slack", "slack_error", "tolerance", "standing", "multiplier", "multiplier_error")


def write_trials(path: Path, record: SweepRecord, front: Front, prices: Prices, recommendation: Recommendation) -> None:
    """Write the trials, best rank first; numbers in full precision, empty where missing.

    Columns: trial, run_id, status, feasible (met, violated, undecided, or empty for unknown), front, rank, the objectives,
    the searched parameters, `value/NAME`, `budget/NAME`, `slack/NAME`, `slack_error/NAME`, `tolerance/NAME`, `standing/NAME`,
    `multiplier/NAME` and `multiplier_error/NAME` of each constraint; where trials are priced `slope_low/NAME` and
    `slope_high/NAME` (what the values
    allow the price of its budget to be, the sum of those that share it) and `price/NAME` (agrees, disagrees or slack); seconds,
    steps, continued_from (the trial whose end it started from), reason, recommended (preferred, knee or both). An objective that
    is also a searched parameter's or a constraint's column appears once. Where trials are several trainings there are also
    replicates, feasibility and `interval/METRIC` of each objective and each slack. Texts are in quotation marks and numbers are
    not, so that who goes by them keeps `0001` as it is; texts that would be formulas to a spreadsheet have a quote in front.
    """
    rows = [
        _row(record, front, trial) | _priced(prices, trial) | {"recommended": ", ".join(recommendation.words_of(trial))}
        for trial in ordered(record, front)
    ]
    names = ["trial", "run_id", "status", "feasible", "front", "rank", *record.objectives, *record.searched]
    names += [f"{quantity}/{name}" for name in record.constraint_names for quantity in _QUANTITIES]
    priced = dict.fromkeys(name for price in prices.prices for name in price.budget.constraints)
    names += [f"{quantity}/{name}" for name in priced for quantity in ("slope_low", "slope_high", "price")]
    names += [*(_replicated(record, record.trials[0]) if record.replicated else ()), "seconds", "steps"]
    names += ["continued_from", "reason", "recommended"]
    file = io.StringIO(newline="")
    columns = list(dict.fromkeys(names))
    writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(map(_no_formula, columns))
    writer.writerows([_no_formula(row.get(name, "")) for name in columns] for row in rows)
    write_file(path, file.getvalue())


def ordered(record: SweepRecord, front: Front) -> list[Trial]:
    """Return all trials, best rank first, the unranked last, then by id."""
    ranks = front.ranks
    return sorted(record.trials, key=lambda trial: (ranks[trial.trial_id] or math.inf, trial.trial_id))


def _row(record: SweepRecord, front: Front, trial: Trial) -> dict[str, object]:
    row: dict[str, object] = {
        "trial": trial.trial_id,
        "run_id": trial.run_id,
        "status": trial.status,
        "feasible": trial.standing or "",
        "front": "true" if trial.trial_id in front.members else "false",
        "rank": front.ranks[trial.trial_id],
        "seconds": trial.seconds,
        "steps": trial.steps,
        "continued_from": trial.continued_from,
        "reason": trial.doubt or trial.reason,
    }
    row |= {name: _cell(value) for name, value in trial.params.items()}
    for outcome in trial.constraints:
        row |= {f"{q}/{outcome.name}": _cell(getattr(outcome, q)) for q in _QUANTITIES}
    row |= _replicated(record, trial) if record.replicated else {}
    return row | {name: _cell(trial.metric(name)) for name in record.objectives}


def _priced(prices: Prices, trial: Trial) -> dict[str, object]:
    row: dict[str, object] = {}
    for price in prices.of(trial.trial_id):
        for name in price.budget.constraints:
            ends = {f"slope_low/{name}": _finite(price.low), f"slope_high/{name}": _finite(price.high)}
            row |= {**ends, f"price/{name}": price.verdict}
    return row


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _replicated(record: SweepRecord, trial: Trial) -> dict[str, object]:
    metrics = dict.fromkeys([*record.objectives, *(metric_names.slack(name) for name in record.constraint_names)])
    intervals = {metric_names.interval(name): trial.intervals.get(name) for name in metrics}
    return {"replicates": trial.replicates, "feasibility": trial.feasibility, **intervals}


def _no_formula(value: object) -> object:
    """A text that spreadsheets would compute, with the quote in front that makes it a text to them.

    Source: OWASP, "CSV Injection". Numbers stay, whatever their sign.
    """
    if not isinstance(value, str) or not unicodedata.normalize("NFKC", value).lstrip(" '\"\t\r\n").startswith(_FORMULAS):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value


def _cell(value: object) -> object:
    if isinstance(value, float) and math.isnan(value):
        return None
    return json.dumps(value) if isinstance(value, list | dict) else value
