"""optuna-dashboard, the real one, opens a sweep's study: values, constraints, and which trials are not the sweep's own."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from dualsweep.sweeps.studies.kept import JOURNAL
from dualsweep.sweeps.studies.study import Study
from tests.sweeps.files import plan

pytest.importorskip("optuna_dashboard")


def ask(url: str, server: subprocess.Popen[bytes]) -> Any:
    for _ in range(300):
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return json.load(answer)
        except (urllib.error.URLError, ConnectionError):
            assert server.poll() is None
            time.sleep(0.1)
    raise AssertionError("the dashboard does not answer")


@pytest.mark.parametrize("kept", ["journal", pytest.param("sqlite", marks=pytest.mark.dear)])
def test_the_dashboard_shows_a_sweep(tmp_path: Path, kept: str) -> None:
    url = f"sqlite:///{tmp_path}/study.db"
    with Study(plan(tmp_path, *([f"storage={url}"] if kept == "sqlite" else [])), tmp_path / "out") as study:
        for slack in (0.25, -0.5):
            study.tell(study.ask().number, [1.0, 2.0 + slack], {"four": slack, "five": 0.1})
        study.tell(study.ask().number, None, failed=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = url if kept == "sqlite" else str(tmp_path / "out" / JOURNAL)
    command = [sys.executable, "-c", "from optuna_dashboard._cli import main; main()", "--host", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen([*command, place], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        base = f"http://127.0.0.1:{port}/api/studies"
        [summary] = ask(base, server)["study_summaries"]
        assert summary["study_name"].startswith("digits-minority")
        shown = ask(f"{base}/{summary['study_id']}?after=0", server)
    finally:
        server.terminate()
        server.wait()
    assert [each["state"] for each in shown["trials"]] == ["Complete", "Complete", "Fail"]
    assert [each["constraints"] for each in shown["trials"]] == [[-0.25, -0.1], [0.5, -0.1], []]
    assert [each.get("values") for each in shown["trials"]][:2] == [[1.0, 2.25], [1.0, 1.5]]
    assert shown["objective_names"] == ["objective", "value/max"]
