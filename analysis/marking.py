"""What the review says of each trial, as tags and metrics of its run: MLflow's own table and charts filter on them.

| tag                  | metric         | values                                                    |
|----------------------|----------------|-----------------------------------------------------------|
| `dualsweep.front`    | `pareto/front` | `true`, `false`; 1, 0                                     |
| `dualsweep.feasible` |                | `met`, `violated`, `undecided`, or `unknown` where nobody can say |
| `dualsweep.missed`   |                | the constraints whose budgets it violates, `none`         |
| `dualsweep.rank`     | `pareto/rank`  | 1 is the front; `none`, and no metric, where nobody can say |
| `dualsweep.knee`     |                | `true`, `false`                                           |
| `dualsweep.recommended` |             | `preferred`, `knee`, `preferred, knee` or `none`          |
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from dualsweep.analysis.long_tags import LONGEST
from dualsweep.analysis.review import Review
from dualsweep.analysis.trials import SweepRecord, Trial
from dualsweep.trainer import metric_names

if TYPE_CHECKING:
    from mlflow import MlflowClient

KNEE = "knee"
#: Requests to a server at a time; a local database takes one after another.
_AT_A_TIME = 8


def mark_trials(client: MlflowClient, record: SweepRecord, review: Review, *, remote: bool) -> int:
    """Write the tags and metrics of every trial that has others, one request each; returns how many that were."""
    wanted = {trial.trial_id: marks_of(trial, review) for trial in record.trials}
    changed = [trial for trial in record.trials if dict(trial.marked) != wanted[trial.trial_id]]

    def write(trial: Trial) -> None:
        _write(client, trial, wanted[trial.trial_id])

    with ThreadPoolExecutor(_AT_A_TIME if remote else 1) as pool:
        list(pool.map(write, changed))
    return len(changed)


def marks_of(trial: Trial, review: Review) -> dict[str, str]:
    """Return a trial's tags, without the prefix `dualsweep.`."""
    rank = review.front.ranks[trial.trial_id]
    return {
        "front": _word(trial.trial_id in review.front.members),
        "feasible": trial.standing or "unknown",
        "missed": ", ".join(trial.missed)[:LONGEST] or "none",
        "rank": "none" if rank is None else str(rank),
        "knee": _word(KNEE in review.named.get(trial.trial_id, ())),
        "recommended": ", ".join(review.named.get(trial.trial_id, ())) or "none",
    }


def _word(holds: bool) -> str:
    return "true" if holds else "false"


def _write(client: MlflowClient, trial: Trial, marks: Mapping[str, str]) -> None:
    from mlflow.entities import Metric, RunTag

    now = int(time.time() * 1000)
    # At one step always: of equal steps MLflow's charts show the newest.
    metrics = [Metric(metric_names.ON_FRONT, float(marks["front"] == "true"), now, 0)]
    if marks["rank"] != "none":
        metrics.append(Metric(metric_names.RANK, float(marks["rank"]), now, 0))
    tags = [RunTag(f"dualsweep.{name}", text) for name, text in marks.items()]
    client.log_batch(trial.run_id, metrics=metrics, tags=tags)
