"""One driver at a time behind a URI, which has no locks: each takes a number, and the greatest has the right to write.

A number is taken by creating `driver/00000007/lease.json` where there is none, which S3, GCS and others do for one of several
that try (`If-None-Match`); where a store does not promise that, reading it again tells most of those who came at once. A driver
writes below its own number alone. So one that was taken for dead, and was only slow, changes nothing of what its successor has.
"""

from __future__ import annotations

import json
import os
import posixpath
import socket
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import psutil

from dualsweep.trainer.config.diagnostics import Diagnostic, InputError
from dualsweep.trainer.config.masking import masked
from dualsweep.trainer.own_files import GARBAGE

#: Below a run's URI: all that its drivers have written there.
DRIVERS = "driver"
FILE = "lease.json"
#: Seconds between two renewals, and without one after which a driver counts as dead, by the clock of whoever waits.
RENEWED, STALE = 10.0, 60.0


@dataclass(frozen=True)
class Owner:
    """A process: its machine's name, this start of it and its space of processes, its number and when it began [Unix s], which
    moves when the clock is set; and in the kernel's ticks since the machine's start, which do not, where they are known.
    """

    host: str
    machine: str
    pid: int
    began: float
    ticks: int | None

    @classmethod
    def here(cls) -> Self:
        return cls.of(os.getpid())

    @classmethod
    def of(cls, pid: int) -> Self:
        """A process of this machine.

        Raises:
            psutil.NoSuchProcess: there is none.
        """
        return cls(socket.gethostname(), _machine(), pid, psutil.Process(pid).create_time(), _ticks(pid))

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"

    @property
    def is_gone(self) -> bool:
        """Whether it is known to write no more: another process of this machine that has ended, or this very one."""
        if self.machine != _machine():
            return False
        try:
            began = psutil.Process(self.pid).create_time()
        except psutil.NoSuchProcess:
            return True
        # Another may have its number now. Where ticks are not known, what a clock is set by now and then is let pass.
        another = abs(began - self.began) > 5 if self.ticks is None else _ticks(self.pid) != self.ticks
        return self.pid == os.getpid() or another


def _machine() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return f"{uuid.getnode():x}"


def _ticks(pid: int) -> int | None:
    """`starttime` of proc_pid_stat(5): what follows the name, which may hold blanks and brackets, begins with the third field."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None


class Lease:
    """The right to write below `root/driver/NUMBER` of a file system, until it ends or another driver takes a greater number."""

    def __init__(self, files: Any, root: str, number: int, owner: Owner, run: str) -> None:
        self._files, self._root, self._owner, self._renewals = files, root, owner, 0
        #: The run's identity, which a driver has from the one before it: a number comes again where all was deleted. "" of a run
        #: whose drivers did not tell one.
        self.number, self.run = number, run

    @classmethod
    def take(cls, files: Any, root: str, place: str, say: Callable[[str], None]) -> Self:
        """Takes the next number, where no other driver has the right.

        Another machine's is watched for `STALE` seconds, in which a driver that lives renews it. `place` is the URI, to be named.

        Raises:
            InputError: another driver writes there.
        """
        owner = Owner.here()
        last = max(numbers(files, root), default=0)
        if last and (holder := _held(files, root, last, say)) is not None:
            raise _refused(place, str(holder))
        made = cls(files, root, last + 1, owner, _run(files, root, last) if last else uuid.uuid4().hex)
        try:
            files.pipe_file(made._path, made._content(), mode="create")
        except FileExistsError:
            raise _refused(place, "another driver that began at the same time") from None
        if not made.is_ours():
            raise _refused(place, "another driver that began at the same time")
        return made

    @property
    def folder(self) -> str:
        """Where this driver writes."""
        return folder_of(self._root, self.number)

    @property
    def _path(self) -> str:
        return posixpath.join(self.folder, FILE)

    def _content(self, *, ended: bool = False) -> bytes:
        plain = {**asdict(self._owner), "run": self.run, "renewals": self._renewals, "time": time.time(), "ended": ended}
        return json.dumps(plain).encode()

    def is_ours(self) -> bool:
        """Whether no other driver has taken over."""
        if max(numbers(self._files, self._root), default=0) > self.number:
            return False
        said = _read(self._files, self._root, self.number)
        return said is not None and said.owner == self._owner

    def renew(self) -> bool:
        """Says that this driver lives; False, and nothing is written, where another has taken over."""
        if not self.is_ours():
            return False
        self._renewals += 1
        self._files.pipe_file(self._path, self._content())
        return True

    def end(self) -> None:
        """From now on any driver may go on."""
        if self.is_ours():
            self._files.pipe_file(self._path, self._content(ended=True))


def numbers(files: Any, root: str) -> list[int]:
    """The numbers that drivers have taken below `root`."""
    files.invalidate_cache()
    try:
        names = files.ls(posixpath.join(root, DRIVERS), detail=False)
    except FileNotFoundError:
        return []
    stems = [posixpath.basename(name.rstrip("/")) for name in names]
    return sorted(int(stem) for stem in stems if stem.isdecimal() and stem.isascii())


def folder_of(root: str, number: int) -> str:
    """Where the driver with this number writes."""
    return posixpath.join(root, DRIVERS, f"{number:08d}")


def _held(files: Any, root: str, number: int, say: Callable[[str], None]) -> Owner | None:
    """Who holds a number; None where that driver has ended."""
    said = _read(files, root, number)
    if said is None or said.renewals is None or said.owner.is_gone:
        return None
    owner = said.owner
    if owner.machine == _machine():
        return owner
    say(f"{owner} may still write there; that is known within {STALE:.0f} s")
    until = time.monotonic() + STALE
    while time.monotonic() < until:
        time.sleep(min(1.0, STALE / 10))
        if (now := _read(files, root, number)) is None or now.renewals is None:
            return None
        if now.renewals != said.renewals:
            return owner
    return None


class _Said(NamedTuple):
    """What a lease says: who has taken a number, how often that was renewed, None where it has ended, and the run's identity."""

    owner: Owner
    renewals: int | None
    run: str


def _read(files: Any, root: str, number: int) -> _Said | None:
    """What the lease of a number says; None where there is none that can be read."""
    try:
        plain = json.loads(files.cat_file(posixpath.join(folder_of(root, number), FILE)))
        ticks = plain.get("ticks")
        process = int(plain["pid"]), float(plain["began"]), None if ticks is None else int(ticks)
        owner = Owner(str(plain["host"])[:100], str(plain["machine"]), *process)
        return _Said(owner, None if plain["ended"] else int(plain["renewals"]), str(plain.get("run", "")))
    except (FileNotFoundError, *GARBAGE):
        return None


def _run(files: Any, root: str, number: int) -> str:
    said = _read(files, root, number)
    return "" if said is None else said.run


def _refused(place: str, holder: str) -> InputError:
    remedy = (
        f"wait until that one has ended, or end it, or give another `--output`; where it is lost, the same command takes over "
        f"{STALE:.0f} s after its last sign of life"
    )
    received = f"{masked(place)}, which {holder} writes to"
    return InputError([Diagnostic(("--output",), "must have one driver at a time", received, remedy, "command line", 1)])
