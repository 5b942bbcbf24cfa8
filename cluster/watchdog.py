"""Ends a cluster of our own with the process that started it, however that one ended: `kill -9` too.

Run as a script, `watchdog.py OWNER BEGAN`, by that process, of whose end it is told by the end of its own standard input. What
belongs to a cluster is known by its session, whose name ends with the id of the process that started it: workers and their
children write to files of the session or run what lies there, Ray's servers have some open or are given it as their session.
"""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

_PROC = Path("/proc")
#: Seconds that it looks for what is left, and that a process which ends takes to let go what it started.
_LOOKS, _PAUSE = 9.0, 0.2
_PYTHON = os.path.realpath(sys.executable)
#: How Ray tells its servers in Python, and workers, their session.
_SESSION_OPTIONS = (b"--session-dir=", b"--session-name=")
_SESSION = re.compile(rb"session_(\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d)_\d+_(\d+)(?!\d)")


class Watchdog:
    """The watchdog of this process, where processes can be found by their files: on Linux."""

    def __init__(self) -> None:
        self._process = None
        if _PROC.joinpath("self/fd").is_dir():
            # The time is taken here: on a busy machine the watchdog itself may begin later than the cluster that it is for.
            began = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
            command = [sys.executable, "-I", "-S", __file__, str(os.getpid()), began]
            # In a session of its own, out of reach of a terminal's Ctrl-C and of what is sent to a process group.
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, cwd="/", start_new_session=True)

    def end(self) -> None:
        """Has it end at once what is left of the clusters of this process, and waits for that."""
        process, self._process = self._process, None
        if process is not None:
            process.communicate()


def main(owner: int, began: bytes) -> None:
    """Waits for the owner's end, and then kills what is left of the sessions that it has started since `began`."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while os.read(0, 1):
        pass
    end = time.monotonic() + _LOOKS
    while (left := list(left_of(owner, began))) and time.monotonic() < end:
        for each in left:
            try:
                os.kill(each, signal.SIGKILL)
            except OSError:
                continue
        time.sleep(_PAUSE)


def left_of(owner: int, began: bytes) -> Iterator[int]:
    """The processes of this user's of sessions that `owner` started after `began`, as sessions write it."""
    for folder in _PROC.iterdir():
        if folder.name.isdecimal() and int(folder.name) not in (owner, os.getpid()):
            for text in _words(folder):
                if any(int(pid) == owner and time >= began for time, pid in _SESSION.findall(text)):
                    yield int(folder.name)
                    break


def _words(folder: Path) -> Iterator[bytes]:
    """Where a process writes to; of Ray's servers also the command line and all files that are open, of Python the program.

    Others that have a session's file open, or name it, are not the session's: a pager, or a user's program that reads logs.
    """
    yield from (_target(folder / "fd" / number) for number in ("1", "2"))
    program = os.fsdecode(_target(folder / "exe"))
    server = "/ray/core/src/ray/" in program
    if program != _PYTHON and not server:
        return
    try:
        command = folder.joinpath("cmdline").read_bytes()
        yield from [command] if server else _program(command.split(b"\0"))
        for each in folder.joinpath("fd").iterdir():
            if server or _writes(folder / "fdinfo" / each.name):
                yield _target(each)
    except OSError:
        return


def _program(words: list[bytes]) -> Iterator[bytes]:
    """Of a command of Python the interpreter, the script where there is one, and the session that Ray's own servers are given."""
    yield words[0]
    options = list(itertools.takewhile(lambda word: word.startswith(b"-"), words[1:]))
    if not {b"-c", b"-m"} & set(options):
        yield from words[1 + len(options) :][:1]
    yield from (word for word in words if word.startswith(_SESSION_OPTIONS))


def _writes(info: Path) -> bool:
    """Whether a file is open for writing, by the flags that /proc has of it; not where it has been closed since."""
    try:
        flags = re.search(rb"^flags:\s*([0-7]+)", info.read_bytes(), re.MULTILINE)
    except OSError:
        return False
    return flags is not None and int(flags[1], 8) & os.O_ACCMODE != os.O_RDONLY


def _target(link: Path) -> bytes:
    """Where a link of /proc leads; nowhere where the process is gone, or another user's."""
    try:
        return os.fsencode(link.readlink())
    except OSError:
        return b""


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2].encode())
