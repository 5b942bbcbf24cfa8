"""The MLflow experiment of a sweep, and where its artifacts lie."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from trainer.uris import sqlite_file

if TYPE_CHECKING:
    from mlflow import MlflowClient


def experiment_of(client: MlflowClient, uri: str, name: str) -> str:
    """The experiment's id; it is created where it is not there, and restored where it was deleted."""
    found = client.get_experiment_by_name(name)
    if found is None:
        experiment_id = client.create_experiment(name, artifact_location=_artifacts(uri, name))
    else:
        experiment_id = found.experiment_id
        if found.lifecycle_stage != "active":
            client.restore_experiment(experiment_id)
    if found is None or "mlflow.experimentKind" not in found.tags:  # opens the runs, not MLflow's page for chat models
        client.set_experiment_tag(experiment_id, "mlflow.experimentKind", "custom_model_development")
    return str(experiment_id)


def _artifacts(uri: str, name: str) -> str | None:
    """Artifacts lie beside an SQLite store, wherever the command was run; a server has its own place for them."""
    file = sqlite_file(uri)
    return None if file is None else (file.parent / "mlruns" / re.sub(r"[^\w.-]", "_", name)).as_uri()
