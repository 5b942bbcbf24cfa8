"""Nothing of a cluster outlives the process that started it, and nothing else is touched."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

#: An owner with a watchdog, which starts what belongs to a session of its own (a worker with a child, a server, one that writes
#: a log, and one whose program lies there), and what does not: a pager and two programs of Python that read a file of it,
#: one of another owner's session, and one of none; it prints their ids and goes on.
OWNER = """
import os, signal, subprocess, sys, time
from datetime import datetime
from pathlib import Path
from dualsweep.cluster.watchdog import Watchdog

dog = Watchdog()
os.kill(dog._process.pid, signal.SIGSTOP)  # on a busy machine it may begin when the cluster is there already
name = datetime.now().strftime("session_%Y-%m-%d_%H-%M-%S_%f_")
folders = {}
for owner in (os.getpid(), 1):
    folders[owner] = Path(sys.argv[1]) / f"{name}{owner}"
    folders[owner].mkdir()
sleep = "import time; time.sleep(60)"

def start(command, **files):
    return subprocess.Popen(command, start_new_session=True, **files).pid

out = folders[os.getpid()] / "worker.out"
mine = out.open("w")
script = folders[os.getpid()] / "script.py"
script.write_text(sleep)
writes, reads = (f"log = open({str(out)!r}, {mode!r}); {sleep}" for mode in "ar")
child = "import subprocess, sys; subprocess.run(['sleep', '60'])"
ids = [
    start([sys.executable, "-c", child], stdout=mine),
    start([sys.executable, "-c", sleep, f"--session-dir={folders[os.getpid()]}"]),
    start([sys.executable, "-c", writes]),
    start([sys.executable, "-u", str(script)]),
    start(["sleep", "60"], stdin=out.open()),
    start([sys.executable, "-c", sleep, str(out)]),
    start([sys.executable, "-c", reads]),
    start([sys.executable, "-c", sleep], stdout=(folders[1] / "worker.out").open("w")),
    start([sys.executable, "-c", sleep]),
]
time.sleep(1.1)
os.kill(dog._process.pid, signal.SIGCONT)
print(*ids, flush=True)
if sys.argv[2] == "ends":
    dog.end()
    print("over", flush=True)
time.sleep(60)
"""


def alive(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):  # it may end between one question and the next
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="processes are found by their files in /proc")
@pytest.mark.parametrize("how", ["is killed", "ends"])
def test_what_a_session_has_started_ends_with_its_owner(how: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", OWNER, str(tmp_path), how]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as owner:
        assert owner.stdout is not None
        processes = [psutil.Process(int(each)) for each in owner.stdout.readline().split()]
        child = processes[0].children()
        if how == "ends":
            assert owner.stdout.readline() == "over\n"
        else:
            owner.send_signal(signal.SIGKILL)
        end = time.monotonic() + 5
        while any(map(alive, [*processes[:4], *child])) and time.monotonic() < end:
            time.sleep(0.05)
        left = [alive(each) for each in [*child, *processes]]
        for each in (*child, *processes[4:]):
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        owner.kill()
    assert left == [False] * 5 + [True] * 5
