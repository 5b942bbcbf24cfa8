"""The first SIGTERM gives notice, the second one ends the process."""

from __future__ import annotations

import signal
import subprocess
import sys

HEEDING = """
import time
from dualsweep.trainer.ray_shell import notice
notice.heed()
print(notice.is_given(), flush=True)
while not notice.is_given():
    time.sleep(0.01)
print(notice.is_given(), flush=True)
time.sleep(60)
"""


def test_a_process_that_heeds_is_told_before_it_is_ended() -> None:
    with subprocess.Popen([sys.executable, "-c", HEEDING], stdout=subprocess.PIPE, text=True) as heeding:
        assert heeding.stdout is not None
        said = []
        for _ in range(2):
            said.append(heeding.stdout.readline())
            heeding.send_signal(signal.SIGTERM)
        assert said == ["False\n", "True\n"] and heeding.wait(20) == 128 + signal.SIGTERM
