"""Process 1 of a node: buries the processes that lost their parents, and starts Ray again whenever it has ended by itself.

Run as a script, `init.py NAME OWN SHARED COMMAND...`: the node's host name, and a folder of its own that takes the place of one
that all nodes would share; both empty where the node has no namespaces. Without arguments it only buries. It begins once it
has read a line on its standard input, and ends where that ends without one.

A raylet that a cluster took for dead while its link was cut ends itself when it hears so: as on a real cluster, something has to
start it again.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time

#: Seconds between an end of Ray's and its next start.
PAUSE = 1.0
#: What is written to the log then.
ENDED = "init: Ray has ended with code"
_PR_SET_CHILD_SUBREAPER = 36


def main(arguments: list[str]) -> None:
    """Never returns by itself."""
    if not os.read(0, 1):
        return
    if not arguments:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries them then
        while True:
            signal.pause()
    name, own, shared, *command = arguments
    if name:
        socket.sethostname(name)
        subprocess.run(["mount", "--bind", own, shared], check=True)
    else:
        with contextlib.suppress(AttributeError):  # Linux alone; elsewhere orphans are found by their environment
            ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    while True:
        print(f"{ENDED} {_run(command)}", flush=True)
        time.sleep(PAUSE)


def _run(command: list[str]) -> int:
    ray = os.spawnvp(os.P_NOWAIT, command[0], command)
    while True:
        pid, status = os.wait()
        if pid == ray:
            return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    main(sys.argv[1:])
