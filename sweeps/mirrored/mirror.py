"""A driver's folder that is mirrored behind a URI while it works: by one thread, which waits an outage out.

A round brings all that has changed. Who must know that something is there takes a ticket, which is good once a round that began
afterwards has ended; rounds come at most once in some seconds, unless somebody waits. While the store does not answer, one
warning is given, nothing waits for it, and it is tried again after 2, 4, ... 30 seconds.
"""

from __future__ import annotations

import contextlib
import shlex
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from dualsweep.sweeps.interrupts import SOON, asked_to_end, interrupt_main_thread
from dualsweep.sweeps.mirrored.lease import RENEWED, Lease, folder_of, numbers
from dualsweep.sweeps.mirrored.objects import Index, upload
from dualsweep.sweeps.typed import same_again
from dualsweep.trainer.config.masking import masked
from dualsweep.trainer.config.wording import with_class
from dualsweep.trainer.metric_point import Payload

#: Seconds between two rounds for which nobody waits, between two attempts at most, and that a caller waits for a round at most.
_EVERY, _LONGEST_WAIT, _PATIENCE = 5.0, 30.0, 20.0
#: Seconds that a command waits at its end for what is left, and between two attempts then.
_AT_END, _WAIT_AT_END = 30.0, 1.0


class Driven(Protocol):
    """The folder of a driver, and whether others find what is in it where the run's output is."""

    folder: Path

    def push(self) -> bool:
        """Whether all that is in the folder now is where the output is; waits for it, but for no outage."""

    def settled(self, payload: Payload, *, waits: bool) -> list[Payload]:
        """Takes a report whose points are on the disk; those, this and earlier ones, whose points are now where the output is.

        `waits`: the training does not go on before.
        """


class Here:
    """A folder that is the output itself."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def push(self) -> bool:
        """Nothing is to be brought."""
        return True

    def settled(self, payload: Payload, *, waits: bool) -> list[Payload]:
        """The report itself."""
        return [payload]


class Mirror:
    """The folder of a run whose output is `place`, a URI, mirrored as long as its lease lasts."""

    def __init__(self, folder: Path, place: str, files: Any, root: str, lease: Lease, say: Callable[[str], None]) -> None:
        self.folder, self._place, self._say = folder, masked(place), say
        self._files, self._root, self._lease = files, root, lease
        self._there: Index = {}
        self._asked, self._done, self._urgent = 0, 0, False
        self._began, self._down, self._lost, self._stopped, self._until = -_EVERY, "", False, threading.Event(), 0.0
        self._held: deque[tuple[int, Payload]] = deque()
        self._changed = threading.Condition()
        self._threads = [threading.Thread(target=each, name="mirror", daemon=True) for each in (self._run, self._renew)]
        for each in self._threads:
            each.start()

    def push(self) -> bool:
        """Whether the URI has all that is in the folder now; waits for at most `_PATIENCE` seconds, and for no outage."""
        with self._changed:
            ticket = self._ticket(urgent=True)
            self._changed.wait_for(lambda: self._done >= ticket or self._down or self._lost, _PATIENCE)
            return self._done >= ticket

    def settled(self, payload: Payload, *, waits: bool) -> list[Payload]:
        """See `Driven`."""
        with self._changed:
            self._held.append((self._ticket(urgent=waits), {**payload, "points": []}))
            ready = []
            while self._held and self._held[0][0] <= self._done:
                ready.append(self._held.popleft()[1])
            return ready

    def close(self) -> str | None:
        """Ends the threads once the URI has all, tried for `_AT_END` seconds, after a signal for `SOON`.

        Returns what it does not have, for the user.
        """
        with self._changed:
            ticket = self._ticket(urgent=True)
            self._until = time.monotonic() + (SOON if asked_to_end.is_set() else _AT_END)
            self._stopped.set()
        for each in self._threads:
            each.join(max(0.0, self._until - time.monotonic()))
        if self._lost:
            return None
        if self._done >= ticket:
            with contextlib.suppress(Exception):  # else it ends by itself, once it is not renewed
                self._lease.end()
            return None
        why = self._down or "it takes too long"
        return (
            f"not all of {self.folder} was brought to {self._place} ({why}); nothing is lost: on this machine {same_again()} "
            f"brings it, or `{shlex.join(['dualsweep', 'sync', self._place])}`"
        )

    def _ticket(self, *, urgent: bool) -> int:
        self._asked += 1
        self._urgent = self._urgent or urgent
        self._changed.notify_all()
        return self._asked

    def _run(self) -> None:
        """Brings what has changed, until the last round, which an outage holds up as long as the end waits."""
        wait = 0.0
        while True:
            with self._changed:
                self._changed.wait_for(self._stopped.is_set if wait else self._is_due, wait or 1.0)
                asked, last = self._asked, self._stopped.is_set()
                due = bool(wait) or self._is_due()
                self._urgent = self._urgent and not due
            failed = self._tried() if due and not self._lost else ""
            wait = self._noted(failed, asked if due else self._done, wait)
            if self._lost or (last and (not failed or time.monotonic() >= self._until)):
                return
            if last:
                time.sleep(_WAIT_AT_END)

    def _is_due(self) -> bool:
        wanted = self._asked > self._done and (self._urgent or time.monotonic() - self._began >= _EVERY)
        return wanted or self._stopped.is_set()

    def _tried(self) -> str:
        """A round; why it failed, where it did."""
        try:
            self._round()
        except Exception as error:  # of whatever library brings files there, and none of them may end a run
            return masked(with_class(error))
        return ""

    def _noted(self, failed: str, done: int, wait: float) -> float:
        """Takes note of how a round went; returns the seconds until the next where this one failed, else 0."""
        with self._changed:
            before, self._down = self._down, failed
            if not failed and not self._lost:
                self._done = done
            self._changed.notify_all()
        if failed and not before:
            told = f"training goes on, and what is to be brought there is kept in {self.folder} until it does"
            self._say(f"{self._place} does not answer ({failed}); {told}")
        elif before and not failed:
            self._say(f"{self._place} answers again")
        return min(_LONGEST_WAIT, max(2.0, 2 * wait)) if failed else 0.0

    def _renew(self) -> None:
        """Keeps the lease, until it is lost or the driver ends; what can't be renewed for an outage is renewed after it."""
        while not self._stopped.wait(RENEWED):
            with contextlib.suppress(Exception):
                if self._lease.renew():
                    continue
                self._lost = True
                self._say(f"another driver has taken over {self._place}: this one ends")
                interrupt_main_thread()
                return

    def _round(self) -> None:
        """Mirrors what has changed; the first one takes the place of what earlier drivers have mirrored."""
        self._began = time.monotonic()
        first = not self._there
        self._there = upload(self.folder, self._files, self._lease.folder, self._there)
        if first and self._there:
            for number in numbers(self._files, self._root):
                if number < self._lease.number:
                    self._files.rm(folder_of(self._root, number), recursive=True)
