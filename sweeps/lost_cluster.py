"""What a command does when the cluster is gone under it: it starts again where the cluster was its own, else it ends and says how
to go on. Nothing of the run is in the cluster: the same command goes on from what is written down, as after `kill -9`.
"""

from __future__ import annotations

import os
import sys

from dualsweep.sweeps.interrupts import asked_to_end, interrupt_main_thread
from dualsweep.sweeps.typed import same_again

#: How often a command starts again by itself.
MOST_RESTARTS = 3
_COUNT = "DUALSWEEP_RESTARTS"
_environment: dict[str, str] = {}


def may_restart() -> None:
    """This process is the command's alone, as typed: from now on it may be started again as it was."""
    _environment.update(os.environ)


def lost(found: str, own: bool) -> None:
    """Called in any thread, when the cluster is gone; `found` says what, `own` whether it was started for this command.

    Where another cluster is to be started, so is this process, in its own place: Ray cannot be started twice in one that has lost
    it. Else the main thread is interrupted. Where it was already, whoever did so has ended the cluster too: a signal to the
    process group reaches Ray's servers as well.
    """
    if asked_to_end.is_set():
        return
    count = int(os.environ.get(_COUNT, "0"))
    if own and _environment and count < MOST_RESTARTS:
        _say(f"{found}; another cluster is started, and all goes on from the checkpoints ({count + 1} of {MOST_RESTARTS} times)")
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], _environment | {_COUNT: str(count + 1)})
    _say(f"{found}: interrupted; to continue{'' if own else ' once it is back'}, {same_again()}")
    interrupt_main_thread()


def _say(text: str) -> None:
    print(f"\ndualsweep: {text}", file=sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
