"""What runs beside a sweep and is killed as well: the head of a cluster that it joins, an MLflow server, its database."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from tests.cluster.live.conftest import free_ports
from tests.faults.victims import program
from tests.pipeline.conftest import ROOT, running_in
from tests.postgresql import Server, installed, serving


def home(folder: Path) -> Path:
    """A home folder beside a sweep's, with a token of Ray's."""
    made = folder.parent / f"{folder.name}-home"
    (made / ".ray").mkdir(parents=True, exist_ok=True)
    (made / ".ray" / "auth_token").write_text("0123456789abcdef" * 4)
    return made


@contextlib.contextmanager
def head(folder: Path, port: int) -> Iterator[list[psutil.Process]]:
    """The head of a cluster of two CPUs, for the sweep in `folder` to join; its GCS alone."""
    place = folder.parent / f"{folder.name}-head"
    place.mkdir(exist_ok=True)
    ports = [f"--port={port}", "--include-dashboard=true", "--dashboard-host=127.0.0.1", f"--dashboard-port={free_ports(1)[0]}"]
    ray = str(Path(sys.executable).parent / "ray")
    command = [ray, "start", "--head", "--num-cpus=2", "--block", "--disable-usage-stats", *ports]
    environment = {**os.environ, "HOME": str(home(folder)), "RAY_AUTH_MODE": "token", "PYTHONPATH": str(ROOT)}
    with (place / "head.txt").open("ab") as log:
        started = subprocess.Popen(command, cwd=place, stdout=log, stderr=log, start_new_session=True, env=environment)
    try:
        while "Ray runtime started" not in (place / "head.txt").read_text():
            assert started.poll() is None, (place / "head.txt").read_text()
            time.sleep(0.2)
        yield [process for process in running_in(place) if program(process) == "gcs_server"]
    finally:
        for each in running_in(place):
            with contextlib.suppress(psutil.Error):
                each.kill()
        started.wait()
        (place / "head.txt").unlink()


@contextlib.contextmanager
def mlflow_server(folder: Path, port: int, store: str = "") -> Iterator[list[psutil.Process]]:
    """An MLflow server, on an SQLite store of its own unless another is given; the processes that make it up."""
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    environment = {
        **os.environ,
        "MLFLOW_BACKEND_STORE_URI": store or f"sqlite:///{folder}/served.db",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    with (folder / "server.txt").open("ab") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, start_new_session=True, env=environment)
    try:
        while not _answers(port):
            time.sleep(0.2)
        yield [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    finally:
        for each in running_in(folder):
            with contextlib.suppress(psutil.Error):
                each.kill()
        process.wait()


def _answers(port: int) -> bool:
    import urllib.request

    with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
        return bool(answer.status == 200)
    return False


@contextlib.contextmanager
def mlflow_on_postgresql(folder: Path, port: int) -> Iterator[Server]:
    """An MLflow server whose store is a PostgreSQL server of its own; that server.

    Raises RuntimeError where PostgreSQL is not installed.
    """
    if (binaries := installed()) is None:
        raise RuntimeError("PostgreSQL must be installed for the kind `postgresql`; leave it out of --kinds")
    with serving(binaries) as database, mlflow_server(folder, port, database.url):
        yield database


@contextlib.contextmanager
def out_of_service(database: Server) -> Iterator[None]:
    """All its processes are killed, and it is started again at the end."""
    database.kill()
    yield
    database.start()
