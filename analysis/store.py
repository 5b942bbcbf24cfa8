"""Opening MLflow for reading: an explicit client, and a clear error where there is nothing to open.

MLflow itself creates an empty database at a mistyped `sqlite:///` path, and retries an unreachable server
for minutes; both are checked before it is asked.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from analysis.errors import ReviewError

if TYPE_CHECKING:
    from mlflow import MlflowClient

_CONNECT_SECONDS = 5.0


def is_http(tracking_uri: str) -> bool:
    """Say whether a tracking URI is an MLflow server's address."""
    return urlsplit(tracking_uri).scheme in ("http", "https")


def open_client(tracking_uri: str) -> MlflowClient:
    """Return a client for this tracking URI.

    Raises:
        ReviewError: the SQLite file or the folder does not exist, or no server answers at the address.
    """
    parts = urlsplit(tracking_uri)
    if parts.scheme == "sqlite":
        _check_path(tracking_uri, tracking_uri.removeprefix("sqlite:///").split("?")[0])
    elif parts.scheme in ("", "file"):
        _check_path(tracking_uri, parts.path)
    elif is_http(tracking_uri):
        _check_server(tracking_uri, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # read when MLflow is imported
    from mlflow import MlflowClient  # takes seconds to import, so not before it is needed

    return MlflowClient(tracking_uri)


def _check_path(tracking_uri: str, path: str) -> None:
    if path in ("", ":memory:") or not Path(path).exists():
        raise ReviewError(
            f"The tracking URI must name an MLflow store that exists, but got {tracking_uri!r} and there is "
            f"nothing at {str(Path(path).resolve())!r}. Correct the path, or run the sweep first."
        )


def _check_server(tracking_uri: str, host: str, port: int) -> None:
    try:
        socket.create_connection((host, port), timeout=_CONNECT_SECONDS).close()
    except OSError as error:
        raise ReviewError(
            f"The tracking URI must be the address of a running MLflow server, but got {tracking_uri!r} and "
            f"{host}:{port} does not answer ({error}). Start the server, or correct the address."
        ) from error
