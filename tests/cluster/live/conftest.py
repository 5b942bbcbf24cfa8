"""One head with its job server for all live tests."""

import dataclasses
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import namespace

# Outside of a namespace, Ray would listen to the whole network: test_live.py runs these inside one.
collect_ignore_glob = [] if namespace.inside() else ["test_*.py"]

TOKEN = "0123456789abcdef" * 4
SCRIPTS = Path(__file__).parent / "scripts"
REPOSITORY = Path(__file__).parents[3]


@dataclasses.dataclass(frozen=True)
class Head:
    """A running head of 2 CPUs: the addresses of its GCS, its job server and its metrics, and the home that holds its token."""

    gcs: str
    jobs: str
    home: Path
    metrics: str


@pytest.fixture(scope="session")
def head() -> Iterator[Head]:
    mark = f"DUALSWEEP_TEST_HEAD={uuid.uuid4().hex}"
    # A short path: Ray puts Unix sockets below it, whose names are limited to 107 characters.
    with tempfile.TemporaryDirectory(prefix="ds", dir="/tmp", ignore_cleanup_errors=True) as folder:
        home = Path(folder) / "home"
        (home / ".ray").mkdir(parents=True)
        (home / ".ray" / "auth_token").write_text(TOKEN)
        gcs, jobs, agent, metrics = free_ports(4)
        log = Path(folder) / "head.log"
        # Ports of its own choice or ours, so that another Ray in this namespace doesn't matter.
        ports = [f"--port={gcs}", f"--dashboard-port={jobs}", f"--dashboard-agent-listen-port={agent}"]
        ports += ["--min-worker-port=0", "--max-worker-port=0", "--dashboard-host=127.0.0.1", f"--metrics-export-port={metrics}"]
        quiet = ["--disable-usage-stats", f"--temp-dir={folder}/r", "--block"]
        with log.open("w") as sink:
            started = subprocess.Popen(
                [str(Path(sys.executable).parent / "ray"), "start", "--head", "--num-cpus=2", *ports, *quiet],
                env={**environment(home), **dict([mark.split("=")])},
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            wait_for("Ray runtime started", log, started)
            yield Head(f"127.0.0.1:{gcs}", f"http://127.0.0.1:{jobs}", home, f"http://127.0.0.1:{metrics}/metrics")
        finally:
            end(started, mark)


@pytest.fixture(scope="module", autouse=True)
def home_with_token(head: Head) -> Iterator[None]:
    """This process finds the head's token where a user's would."""
    with pytest.MonkeyPatch.context() as changed:
        for name in [name for name in os.environ if name.startswith("RAY_")]:
            changed.delenv(name)
        changed.setenv("HOME", str(head.home))
        yield


def environment(home: Path) -> dict[str, str]:
    """A user's environment: this Python first, nothing of Ray set."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    path = f"{Path(sys.executable).parent}:{kept.get('PATH', '')}"
    return {**kept, "HOME": str(home), "PATH": path, "PYTHONUNBUFFERED": "1"}


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def wait_for(text: str, log: Path, process: subprocess.Popen[bytes], limit_s: float = 180) -> None:
    deadline = time.monotonic() + limit_s
    while text not in log.read_text():
        assert process.poll() is None, f"the head ended:\n{log.read_text()}"
        assert time.monotonic() < deadline, f"the head isn't up after {limit_s:g} s:\n{log.read_text()}"
        time.sleep(0.2)


def end(process: subprocess.Popen[bytes], mark: str) -> None:
    """End the head and whatever it has started: by ids found through a mark in their environment, never by name."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (folder / "environ").read_bytes().split(b"\0"):
                os.kill(int(folder.name), signal.SIGKILL)
        except OSError:
            continue
