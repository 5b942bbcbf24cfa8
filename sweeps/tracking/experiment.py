"""The MLflow store and experiment that are written to, and where artifacts lie."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualsweep.trainer.config.uris import sqlite_file
from dualsweep.trainer.storage import as_file_name

if TYPE_CHECKING:
    from mlflow import MlflowClient


def client_of(uri: str) -> MlflowClient:
    """MLflow's client of a store that is written to; an SQLite file that is not there yet is made.

    MLflow puts the place of its default experiment, in the working directory, into its SQL as it stands, which fails where that
    directory's name has quotes or colons. So a new store is made here, with that place as a URI.
    """
    from mlflow import MlflowClient
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    file = sqlite_file(uri)
    if file is not None and not (file.exists() and file.stat().st_size):
        file.parent.mkdir(parents=True, exist_ok=True)
        made: Any = SqlAlchemyStore  # untyped
        made(uri, (Path.cwd() / "mlruns").as_uri())
    return MlflowClient(uri)


def experiment_of(client: MlflowClient, uri: str, name: str) -> str:
    """The experiment's id; it is created where it is not there, and restored where it was deleted."""
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        experiment_id = client.create_experiment(name, artifact_location=_artifacts(uri, name))
    else:
        experiment_id = experiment.experiment_id
        if experiment.lifecycle_stage != "active":
            client.restore_experiment(experiment_id)
    if experiment is None or "mlflow.experimentKind" not in experiment.tags:  # opens the runs, not MLflow's page for chat models
        client.set_experiment_tag(experiment_id, "mlflow.experimentKind", "custom_model_development")
    return str(experiment_id)


def runs_of(client: MlflowClient, experiment: str, sweep: str) -> set[str]:
    """The ids of a sweep's runs, by its identity, without those that were deleted."""
    there: set[str] = set()
    token = None
    while True:
        page = client.search_runs([experiment], f"tags.`dualsweep.sweep` = '{sweep}'", max_results=1000, page_token=token)
        there |= {run.info.run_id for run in page}
        token = page.token
        if not token:
            return there


def identity_at(client: MlflowClient, experiment: str, began: int | None) -> str | None:
    """The identity of a sweep whose folder has lost it: its run began with its first record, to the millisecond of Unix time."""
    if began is None:
        return None
    runs = client.search_runs([experiment], f"tags.`dualsweep.kind` = 'sweep' and attributes.start_time = {began}")
    return next((run.data.tags.get("dualsweep.sweep") for run in runs), None)


def is_there(client: MlflowClient, run_id: str) -> bool:
    from mlflow.exceptions import MlflowException

    try:
        return bool(client.get_run(run_id).info.lifecycle_stage == "active")
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise


def _artifacts(uri: str, name: str) -> str | None:
    """Artifacts lie beside an SQLite store, wherever the command was run; a server has its own place for them."""
    file = sqlite_file(uri)
    return None if file is None else (file.parent / "mlruns" / as_file_name(name)).as_uri()
