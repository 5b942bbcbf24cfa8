"""SIGTERM ends a command as Ctrl-C does, in the signal masks that commands are started with."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

SCRIPT = """
import signal, sys, time
{before}
from dualsweep.sweeps.interrupts import terminate_like_interrupt
terminate_like_interrupt()
try:
    print("ready", flush=True)
    time.sleep(30)
except KeyboardInterrupt:
    print("written down", flush=True)
"""


@pytest.mark.parametrize(
    "before",
    [
        "",
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # as Ray starts its jobs",
        "signal.signal(signal.SIGINT, signal.SIG_IGN)  # as shells start background jobs",
    ],
)
def test_sigterm_is_a_ctrl_c(before: str) -> None:
    process = subprocess.Popen([sys.executable, "-c", SCRIPT.format(before=before)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=10)
    assert said == "written down\n" and process.returncode == 0
