"""Connecting, each in a process of its own as Ray can't be left without traces."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from dualsweep.cluster.connection import connect
from dualsweep.cluster.errors import ClusterError
from tests.cluster.live.conftest import SCRIPTS, Head, environment

pytestmark = pytest.mark.ray


def run(script: str, *arguments: str, home: Path, cwd: Path, **variables: str) -> str:
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / script), *arguments],
        env={**environment(home), **variables},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("order", ["early", pytest.param("late", marks=pytest.mark.dear)])
def test_a_cluster_of_our_own(order: str, tmp_path: Path) -> None:
    """With no token at hand: one is made, and asked for, whether Ray was imported before or not."""
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "beside.py").write_text("WORD = 'from the working directory'\n")
    # RAY_ADDRESS may be meant for `ray job submit`: it is of no concern to a cluster of our own.
    settings = {"RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "77", "RAY_ADDRESS": "http://127.0.0.1:1"}
    settings |= {"RAY_gcs_server_port_wait_time_s": "2", "RAY_py_gcs_connect_timeout_s": "6"}  # the start that fails does so soon
    out = run("local.py", order, home=tmp_path, cwd=tmp_path / "work", **settings)
    assert "WORD from the working directory" in out
    assert "STATUS 401 403" in out
    assert "LEFT ['RAY_AUTH_MODE']" in out
    assert (tmp_path / ".ray" / "auth_token").stat().st_size > 32


def test_two_one_cpu_trials_run_side_by_side_on_two_cpus(head: Head, tmp_path: Path) -> None:
    out = run("side_by_side.py", head.gcs, str(tmp_path), home=head.home, cwd=tmp_path)
    assert "PLAN 2 MET [2, 2]" in out


def test_joining_with_a_wrong_token_and_without(head: Head, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = time.monotonic()
    monkeypatch.setenv("RAY_AUTH_TOKEN", "wrong")
    with pytest.raises(ClusterError, match="must accept the authentication token"):
        connect(head.gcs)
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ClusterError, match="asks for an authentication token"):
        connect(head.gcs)
    with pytest.raises(ClusterError, match="GCS must answer"):
        connect(head.jobs.removeprefix("http://"))
    assert time.monotonic() - started < 5
