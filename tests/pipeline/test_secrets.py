"""A sweep in which every secret is a marked word: MLflow's login, keys in the environment. Nothing written has the mark."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.pipeline.conftest import SWEEP, put, run, start, wait_for, working_directory

pytestmark = pytest.mark.ray

MARK = "Zq7mark"
KEYS = {
    "AWS_ACCESS_KEY_ID": f"{MARK}1", "AWS_SECRET_ACCESS_KEY": f"{MARK}2", "AWS_SESSION_TOKEN": f"{MARK}3",
    "HF_TOKEN": f"{MARK}4", "WANDB_API_KEY": f"{MARK}5", "PGPASSWORD": f"{MARK}6", "SOME_TOKEN": f"{MARK}7",
}  # fmt: skip


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def mlflow_server(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """MLflow on this port, with its database and artifacts in `folder`; killed at the end."""
    words = ["--backend-store-uri", f"sqlite:///{folder}/server.db", "--artifacts-destination", str(folder / "artifacts")]
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1", *words],
        cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        end = time.monotonic() + 120
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health"):
                break
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.2)
        yield process
    finally:
        kill(process)


def kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_no_secret_is_in_anything_that_is_written(tmp_path_factory: pytest.TempPathFactory) -> None:
    served, port = tmp_path_factory.mktemp("served"), free_port()
    sweep = {**SWEEP, "trials": 2, "concurrency": 1, "mlflow": {"tracking_uri": f"http://joe:{MARK}0@127.0.0.1:{port}"}}
    # Ray's session lies at a short path: those of its sockets have an end at 107 characters.
    with working_directory(tmp_path_factory.mktemp("secrets")) as folder, tempfile.TemporaryDirectory(prefix="ray") as session:
        put(folder, {"sweep.yaml": yaml.safe_dump(sweep)})
        environment = {**KEYS, "RAY_TMPDIR": session}
        arguments = ("sweep", "sweep.yaml", "--json", "r.json")
        with mlflow_server(served, port) as server:
            process = start(folder, *arguments, **environment)
            wait_for((folder / "runs" / "tiny-sweep" / "records" / "0000.json").exists, process)
            kill(server)
            said, _ = process.communicate(timeout=300)
        assert f"127.0.0.1:{port} cannot be written to" in said, said
        with mlflow_server(served, port):
            said += run(folder, *arguments, code=(0, 3), **environment)
            said += run(folder, "front", "sweep.yaml", code=0, **environment)
            said += run(folder, "explain", "sweep.yaml", "0001", code=(0, 1, 2), **environment)
        said += run(folder, "check", "sweep.yaml", code=0, **environment)
        assert MARK not in said
        (folder / "sweep.yaml").unlink()
        assert files_with_the_mark(folder) == files_with_the_mark(served) == files_with_the_mark(Path(session)) == []
        assert any(Path(session).rglob("runtime_env_agent.log")), "Ray's logs were elsewhere"


def files_with_the_mark(folder: Path) -> list[str]:
    return [str(path) for path in folder.rglob("*") if path.is_file() and MARK.encode() in path.read_bytes()]
