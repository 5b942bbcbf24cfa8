"""Opening MLflow for reading: an explicit client, and a clear error where there is nothing to open.

MLflow itself creates an empty database at a mistyped `sqlite:///` path, and retries an unreachable server
for minutes; both are checked before it is asked.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dualsweep.analysis.database import is_empty, wrong_with_file
from dualsweep.analysis.errors import ReviewError
from dualsweep.analysis.tracking_uri import wrong_with
from dualsweep.analysis.trials import Trial
from dualsweep.trainer.config.masking import masked
from dualsweep.trainer.config.uris import BadPlaceError, sqlite_file
from dualsweep.trainer.config.wording import first_line

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.store.artifact.artifact_repo import ArtifactRepository

_CONNECT_SECONDS = 5.0


def is_http(tracking_uri: str) -> bool:
    """Say whether a tracking URI is an MLflow server's address."""
    return urlsplit(tracking_uri).scheme in ("http", "https")


def open_client(tracking_uri: str) -> MlflowClient:
    """Return a client for this tracking URI.

    Raises:
        ReviewError: the URI is none of a store, its file does not exist or is of another version, or no server answers there.
    """
    check_store(tracking_uri)
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # read when MLflow is imported
    from mlflow import MlflowClient  # takes seconds to import, so not before it is needed
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        client = MlflowClient(tracking_uri)
        client.search_experiments(max_results=1)
    except (MlflowException, SQLAlchemyError) as error:
        raise ReviewError(
            f"The tracking URI must name an MLflow store that answers, but got {masked(tracking_uri)!r} and "
            f"{masked(first_line(error))}. Fix that store, or name another."
        ) from None
    return client


def bring(client: MlflowClient, run_id: str, names: Sequence[str], folder: str) -> bool:
    """Brings artifacts of a run into a folder, where it has all of them; says whether it does. Stores raise their own errors."""
    there = set(names) <= {each.path for each in client.list_artifacts(run_id)}
    for name in names if there else ():
        client.download_artifacts(run_id, name, folder)
    return there


def artifacts_of(tracking_uri: str, trial: Trial) -> set[str]:
    """Return the names of the artifacts of a trial's run."""
    return {each.path for each in _artifacts(tracking_uri, trial).list_artifacts()}


def download(tracking_uri: str, trial: Trial, name: str, folder: str) -> Path:
    """Bring an artifact of a trial's run into a folder, and return its file; what stores raise where there is none differs."""
    return Path(_artifacts(tracking_uri, trial).download_artifacts(name, folder))  # type: ignore[no-untyped-call]  # MLflow's


def _artifacts(tracking_uri: str, trial: Trial) -> ArtifactRepository:
    """By the run's URI, which was read with it: the client reads the whole run three times before it gets to a file."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    return get_artifact_repository(trial.artifacts, tracking_uri)


def check_store(tracking_uri: str) -> None:
    """What can be told against reading a store before MLflow is asked.

    Raises:
        ReviewError: the URI is none of a store, its file is not there, is empty or of another version, or no server answers.
    """
    try:
        wrong = wrong_with(tracking_uri)
    except BadPlaceError as error:
        raise ReviewError(f"The tracking URI {error.diagnostic.sentence}.") from None
    if wrong is not None:
        raise ReviewError(f"The tracking URI {wrong[0]}, but got {masked(tracking_uri)!r}; {wrong[1]}.")
    file = sqlite_file(tracking_uri)
    if file is not None and not file.exists():
        raise ReviewError(
            f"The tracking URI must name an MLflow store that exists, but got {tracking_uri!r} and there is "
            f"nothing at {str(file)!r}. Correct the path, or run the sweep first."
        )
    if (state := wrong_with_file(tracking_uri)) is not None:
        raise ReviewError(f"The tracking URI {state[0]}, but got {state[1]}; {state[2]}.")
    if file is not None and is_empty(file):
        raise ReviewError(
            f"The tracking URI must name an MLflow store that exists, but got {tracking_uri!r} and {str(file)!r} is empty. "
            "Correct the path, or run the sweep first."
        )
    if is_http(tracking_uri):
        parts = urlsplit(tracking_uri)
        _check_server(masked(tracking_uri), parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))


def _check_server(tracking_uri: str, host: str, port: int) -> None:
    try:
        socket.create_connection((host, port), timeout=_CONNECT_SECONDS).close()
    except OSError as error:
        raise ReviewError(
            f"The tracking URI must be the address of a running MLflow server, but got {tracking_uri!r} and "
            f"{host}:{port} does not answer ({error}). Start the server, or correct the address."
        ) from error
