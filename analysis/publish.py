"""Putting a review into MLflow, where people look at it. Doing it twice changes nothing."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from dualsweep.analysis.description import describe
from dualsweep.analysis.long_tags import in_parts
from dualsweep.analysis.marking import mark_trials
from dualsweep.analysis.preference import PREFER
from dualsweep.analysis.review import Review
from dualsweep.analysis.saved_view import save_view
from dualsweep.analysis.store import is_http, open_client
from dualsweep.analysis.trials import SweepRecord

if TYPE_CHECKING:
    from mlflow import MlflowClient


def publish(tracking_uri: str, record: SweepRecord, review: Review, *, models: Mapping[str, str] | None = None) -> str | None:
    """Write a review to MLflow; returns the saved view's link in the UI, None where this MLflow takes no saved views.

    Each trial's run gets the tags and metrics of `analysis/marking.py`. The sweep's run gets the review's files, the metrics
    `front/size` and `hypervolume` at the step that is the number of trials, and a description. The experiment gets a saved view
    with charts. `models` are the addresses of the front's models by trial id.

    Only what differs is written, artifacts apart, which are replaced.

    Raises:
        ReviewError: there is no store at the tracking URI.
        mlflow.exceptions.MlflowException: the store refuses, for instance a run that was deleted meanwhile.
    """
    client = open_client(tracking_uri)
    mark_trials(client, record, review, remote=is_http(tracking_uri))
    _log_metrics(client, record, review)
    # MLflow shows a picture at its own size, and the front's is wider than the page.
    pictures = [review.samples_png] if review.samples_png else []
    for path in (review.front_html, review.front_png, review.trials_csv, *pictures):
        client.log_artifact(record.parent_run_id, str(path))
    view = save_view(client, record)
    text = describe(
        record,
        review.front,
        hypervolume=review.hypervolume,
        reference_point=review.reference_point,
        prices=review.prices,
        recommendation=review.recommendation,
        charts_link=view or "",
        models=models or {},
        pictures=[path.name for path in pictures],
    )
    client.set_tag(record.parent_run_id, "mlflow.note.content", text)
    return view


def record_preference(tracking_uri: str, record: SweepRecord) -> None:
    """Write the preference to the sweep's run, or take it away, for reviews to come.

    Raises:
        ReviewError: there is no store at the tracking URI.
    """
    client = open_client(tracking_uri)
    if record.prefer is not None:
        for name, text in in_parts({PREFER: json.dumps(record.prefer.to_json())}).items():
            client.set_tag(record.parent_run_id, name, text)
    elif PREFER in client.get_run(record.parent_run_id).data.tags:
        client.delete_tag(record.parent_run_id, PREFER)


def _log_metrics(client: MlflowClient, record: SweepRecord, review: Review) -> None:
    from mlflow.entities import Metric

    step, now = len(record.trials), int(time.time() * 1000)
    logged = client.get_run(record.parent_run_id).data.metrics
    wanted = {"front/size": float(len(review.front_ids))}
    if review.hypervolume is not None:
        wanted["hypervolume"] = review.hypervolume
    changed = [
        Metric(name, value, now, step)
        for name, value in wanted.items()
        if not math.isclose(logged.get(name, math.nan), value, rel_tol=1e-12)
    ]
    if changed:
        client.log_batch(record.parent_run_id, metrics=changed)
