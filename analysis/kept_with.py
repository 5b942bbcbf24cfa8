"""Runs a command that ends with the process that started this, however that one ended: `kill -9` too.

Run as a script, `kept_with.py COMMAND…`, at the head of a process group of its own, with a pipe as its standard input, whose end
tells of the other's. Imports nothing that isn't Python's.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading


def main(command: list[str]) -> int:
    """Waits for the command; what is sent to the group is the command's to answer. Returns its exit code."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)  # not ignored, which the command would inherit
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    threading.Thread(target=_end_with_the_other, daemon=True).start()
    return process.wait()


def _end_with_the_other() -> None:
    while os.read(0, 1):
        pass
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
