"""`dualsweep ui` leaves nothing behind, however it is ended."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient

from dualsweep.analysis.links import run_link
from dualsweep.sweeps.tracking.training import keep_logged
from tests.stores import empty_store
from tests.sweeps.here import dualsweep_here


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def logged_training(folder: Path, uri: str) -> str:
    """A training's folder which knows its run in the store; the end of the link to that run."""
    client = MlflowClient(uri)
    run = client.create_run(client.create_experiment("faces"), tags={"dualsweep.kind": "training"}).info
    folder.mkdir()
    keep_logged(uri, run.run_id, folder)
    return run_link(run.experiment_id, run.run_id)


@pytest.mark.parametrize(
    ("number", "code"), [pytest.param(signal.SIGINT, 0, marks=pytest.mark.dear), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_in_a_script_s_background_it_ends_its_server_whatever_it_is_ended_by(
    number: signal.Signals, code: int, tmp_path: Path
) -> None:
    """Where a shell has it ignore Ctrl-C; on a store, and on a training's folder, whose run it links to."""
    uri = empty_store(tmp_path)
    port = free_port()
    link = logged_training(tmp_path / "faces", uri) if code else ""
    what = "faces" if link else f"--tracking-uri {uri}"
    command = f"trap '' INT; exec {sys.executable} -m dualsweep ui {what} --port {port}"
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path.cwd()),
        "COLUMNS": "200",
        "http_proxy": "http://127.0.0.1:9",
        "no_proxy": "",
        "NO_PROXY": "",
    }
    with subprocess.Popen(["sh", "-c", command], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = list(itertools.takewhile(lambda line: "Ctrl-C" not in line, process.stdout))
        links = [f"run:    http://127.0.0.1:{port}/{link}\n"] if link else []
        assert told == [f"MLflow: http://127.0.0.1:{port}\n", *links]
        assert listens(port)
        process.send_signal(number)
        assert process.wait(15) == code
    end = time.monotonic() + 5
    while listens(port):
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.parametrize("store", ["sqlite:///nope.db", "http://127.0.0.1:1", "sqlite:///noise.db"])
def test_a_store_that_is_not_there_is_refused_and_not_made(store: str, tmp_path: Path) -> None:
    (tmp_path / "noise.db").write_bytes(b"x" * 5000)
    done = dualsweep_here("ui", "--tracking-uri", store, folder=tmp_path)
    assert done.returncode == 2 and "The tracking URI must " in done.stderr and len(done.stderr.splitlines()) == 1, done
    assert [each.name for each in tmp_path.iterdir()] == ["noise.db"]
