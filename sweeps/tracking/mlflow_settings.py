"""MLflow's settings in this process, and what of its libraries' logs is nobody's concern."""

from __future__ import annotations

import logging
import os

_ENVIRONMENT = {
    # With MLflow's defaults an unreachable server takes four minutes a call.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # A bar for each of a hundred small files.
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # Clusters without a way out would wait for it; users who want it say so.
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
#: What is logged below these levels is not shown. Both write a traceback for each request while a database restarts, which is
#: raised as well, and told in one line.
_LEVELS = {
    "alembic": logging.WARNING, "mlflow.pyfunc": logging.WARNING, "mlflow.store.db.utils": logging.CRITICAL,
    "sqlalchemy.pool": logging.CRITICAL,
}  # fmt: skip


def prepare() -> None:
    """Sets MLflow's settings, where the user has not, before anything imports it."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    for name, level in _LEVELS.items():
        logging.getLogger(name).setLevel(level)
