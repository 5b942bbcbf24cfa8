"""MLflow stores of the tests' own."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

from mlflow import MlflowClient


@functools.cache
def _empty_database() -> Path:
    """Make MLflow's tables once a process: its migrations take seconds."""
    path = Path(tempfile.mkdtemp(prefix="empty-mlflow-")) / "mlflow.db"
    atexit.register(shutil.rmtree, path.parent, ignore_errors=True)
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


def empty_store(folder: Path, name: str = "mlflow.db") -> str:
    """Put an SQLite store with MLflow's tables and nothing else into `folder`; returns its tracking URI."""
    shutil.copy(_empty_database(), folder / name)
    return f"sqlite:///{folder / name}"
