"""`dualsweep ui` leaves nothing behind, however it is ended."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.stores import empty_store


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGKILL, -signal.SIGKILL)])
def test_in_a_script_s_background_it_ends_its_server_whatever_it_is_ended_by(
    number: signal.Signals, code: int, tmp_path: Path
) -> None:
    """Where a shell has it ignore Ctrl-C."""
    uri = empty_store(tmp_path)
    port = free_port()
    command = f"trap '' INT; exec {sys.executable} -m dualsweep ui --tracking-uri {uri} --port {port}"
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
        for line in process.stdout:
            if "Ctrl-C" in line:
                break
            assert re.match(r"MLflow: http://127.0.0.1:\d+", line)
        assert listens(port)
        process.send_signal(number)
        assert process.wait(15) == code
    end = time.monotonic() + 5
    while listens(port):
        assert time.monotonic() < end
        time.sleep(0.1)
