"""Runs a command in namespaces of another process: `enter.py PID KINDS COMMAND...`, KINDS as in `user,net,pid`.

A script of its own, since a process that has threads cannot enter a user namespace; and not `nsenter`, which at Ctrl-C ends
before the command has. The command gets signals that are sent here, is killed when this is, and its exit code is passed on.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys

_PR_SET_PDEATHSIG = 1


def main(pid: str, kinds: str, *command: str) -> int:
    """The command's exit code; 128 and the signal's number where a signal ended it, as shells have it."""
    libc, folder = ctypes.CDLL(None, use_errno=True), os.getcwd()  # noqa: PTH109  # without pathlib this starts sooner
    for descriptor in [os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY) for kind in kinds.split(",")]:
        if libc.setns(descriptor, 0):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), f"/proc/{pid}/ns")
        os.close(descriptor)
    os.chdir(folder)  # another mount namespace begins at its root
    for number in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)  # a terminal sends them to the command as well

    def with_owner() -> None:
        for each in (signal.SIGINT, signal.SIGQUIT):
            signal.signal(each, signal.SIG_DFL)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)

    try:
        started = subprocess.Popen(command, preexec_fn=with_owner)
    except OSError as error:
        print(f"dualsweep: {error.strerror}: {command[0]}", file=sys.stderr)
        return 127
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: started.send_signal(number))
    code = started.wait()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
