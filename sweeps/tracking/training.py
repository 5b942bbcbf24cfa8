"""One training in MLflow, when it has ended: what a sweep's trial has there, in the experiment of the recipe's name.

The run is found again by its output, so that the same command again, which has nothing left to train, adds nothing twice; and
delivers what could not be delivered before.
"""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

from dualsweep.analysis.bounds import bounds_tag
from dualsweep.sweeps.records.explained import Explained, Points
from dualsweep.sweeps.tracking import look_images
from dualsweep.sweeps.tracking.artifacts import dataset_of, draw_trajectories, write_artifacts
from dualsweep.sweeps.tracking.experiment import client_of, experiment_of
from dualsweep.sweeps.tracking.leaving import send_artifact
from dualsweep.sweeps.tracking.look_images import write_looks
from dualsweep.sweeps.tracking.metrics_file import read_points
from dualsweep.sweeps.tracking.mlflow_settings import prepare
from dualsweep.sweeps.tracking.origin import origin
from dualsweep.sweeps.tracking.tracker import RUN_STATUS
from dualsweep.sweeps.tracking.wire import KnownParams, charted, dataset_input, log_values, send_params, taken_name
from dualsweep.trainer.checks.unused_keys import in_use
from dualsweep.trainer.config.masking import masked
from dualsweep.trainer.storage import write_file

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

KIND = "training"
#: Where a training's folder keeps the store and the run that it was logged to.
LOGGED = "mlflow.json"


def log_training(uri: str, output: str, folder: Path, explained: Explained, file: str) -> str:
    """Logs the training whose own files lie at `output` and whose points lie in `folder`; returns the run's id.

    `file` is its recipe's, "" where Python made it.

    Raises:
        mlflow.exceptions.MlflowException: the store does not answer, or refuses.
    """
    prepare()
    from mlflow.entities import Metric

    client, name, result = client_of(uri), explained.recipe.name, explained.result
    experiment = experiment_of(client, uri, name)
    logged = _run_of(client, experiment, output, name)
    run = logged.info.run_id
    recorded = read_points(folder)
    params = {key: str(value) for key, value in in_use(explained.recipe).items()}
    metrics = [
        Metric(taken_name(key), value, int(point.time * 1000), point.step)
        for point in recorded
        for key, value in charted(point.metrics, final=point.final).items()
        if math.isfinite(value)
    ]
    changed = send_params(client, run, params, KnownParams.of(logged))
    bounds = bounds_tag(recorded[-1].metrics) if recorded else {}
    tags = explained.tags() | origin(file) | bounds | changed
    log_values(client, run, metrics, tags | {"dualsweep.status": result.status, "dualsweep.reason": result.reason})
    _add_files(client, run, folder, output, recorded, explained)
    client.set_terminated(run, RUN_STATUS.get(result.status, "FINISHED"))
    return str(run)


def _run_of(client: MlflowClient, experiment: str, output: str, name: str) -> Run:
    """The run of the training with this output, which is created where it is not there."""
    # A digest, as MLflow's filters take no quotes within a value.
    mark = {"dualsweep.kind": KIND, "dualsweep.training": hashlib.sha256(output.encode()).hexdigest()[:32]}
    wanted = " and ".join(f"tags.`{key}` = '{value}'" for key, value in mark.items())
    if existing := client.search_runs([experiment], wanted, max_results=1):
        return existing[0]
    return client.create_run(experiment, tags=mark | {"dualsweep.output": masked(output)}, run_name=name)


def keep_logged(uri: str, run: str, folder: Path) -> None:
    """Writes down in a training's folder where it was logged to, without a login."""
    write_file(folder / LOGGED, json.dumps({"uri": masked(uri), "run": run}) + "\n")


def _add_files(client: MlflowClient, run: str, folder: Path, output: str, recorded: Points, explained: Explained) -> None:
    """The training's artifacts, and its data set as an input."""
    tracked = folder / "tracked"
    files = write_artifacts(tracked, output, explained) + draw_trajectories(recorded, explained.title, tracked)
    for artifact in files:
        send_artifact(client, run, artifact)
    looks = write_looks(folder / "tracked" / look_images.FOLDER, output, recorded, explained.recipe)
    for picture in looks:
        client.log_artifact(run, str(picture), look_images.FOLDER)
    for key, value in look_images.TAGS.items() if looks else ():
        client.set_tag(run, key, value)
    if (dataset := dataset_of(folder / "tracked")) is not None:
        client.log_inputs(run, datasets=[dataset_input(dataset)])
