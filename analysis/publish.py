"""Putting a review into MLflow, where people look at it. Doing it twice changes nothing."""

from __future__ import annotations

import json
import math
import time
from typing import TYPE_CHECKING

from analysis.description import describe
from analysis.recommendation.preference import PREFER
from analysis.review import Review
from analysis.saved_view import save_view
from analysis.store import open_client
from analysis.trials import RECOMMENDED, SweepRecord

if TYPE_CHECKING:
    from mlflow import MlflowClient


def publish(tracking_uri: str, record: SweepRecord, review: Review) -> None:
    """Write a review to MLflow.

    Each trial's run gets the tag `dualsweep.front` (true or false), and those that are recommended `dualsweep.recommended`
    (`preferred`, `knee` or both). The sweep's run gets `front.html`,
    `front.png` and `trials.csv`, the metrics `front/size` and `hypervolume` at the step that is the number
    of trials, and a description. The experiment gets a saved view with charts.

    Only what differs is written, artifacts apart, which are replaced.

    Raises:
        ReviewError: there is no store at the tracking URI.
        mlflow.exceptions.MlflowException: the store refuses, for instance a run that was deleted meanwhile.
    """
    client = open_client(tracking_uri)
    _tag_trials(client, record, review)
    _log_metrics(client, record, review)
    for path in (review.front_html, review.front_png, review.trials_csv):
        client.log_artifact(record.parent_run_id, str(path))
    text = describe(
        record,
        review.front,
        hypervolume=review.hypervolume,
        reference_point=review.reference_point,
        prices=review.prices,
        recommendation=review.recommendation,
        charts_link=save_view(client, record),
    )
    client.set_tag(record.parent_run_id, "mlflow.note.content", text)


def record_preference(tracking_uri: str, record: SweepRecord) -> None:
    """Write the preference to the sweep's run, or take it away, for reviews to come.

    Raises:
        ReviewError: there is no store at the tracking URI.
    """
    client = open_client(tracking_uri)
    if record.prefer is not None:
        client.set_tag(record.parent_run_id, PREFER, json.dumps(record.prefer.to_json()))
    elif PREFER in client.get_run(record.parent_run_id).data.tags:
        client.delete_tag(record.parent_run_id, PREFER)


def _tag_trials(client: MlflowClient, record: SweepRecord, review: Review) -> None:
    on_front = frozenset(review.front_ids)
    for trial in record.trials:
        belongs = trial.trial_id in on_front
        if trial.tagged_front != belongs:
            client.set_tag(trial.run_id, "dualsweep.front", "true" if belongs else "false")
        words = review.recommendation.words_of(trial)
        if trial.tagged_recommended != words:
            client.set_tag(trial.run_id, RECOMMENDED, words)


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
