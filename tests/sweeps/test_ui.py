"""`dualsweep ui` leaves nothing behind, however it is ended."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

from tests.stores import empty_store


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_terminated_in_a_script_s_background_it_ends_its_server(tmp_path: Path) -> None:
    """A shell's background jobs ignore Ctrl-C, so that SIGTERM is all there is."""
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
        with socket.create_connection(("127.0.0.1", port)):
            pass
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
