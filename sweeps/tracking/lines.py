"""Whole lines at the end of a file, whatever the disk says: what it refuses waits in memory, in its order, for room.

A line is written by one call to the system. So a `kill -9` leaves at most half a last line, which readers pass over and `cut`
takes off before more is written.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

_log = logging.getLogger(__name__)


class Lines:
    """Adds lines to one file, and never raises. `on_refused` gets the path and the reason, once for each time without room."""

    def __init__(self, path: Path, on_refused: Callable[[Path, str], None] | None = None) -> None:
        self.path = path
        self._on_refused = on_refused or _warn
        self._waiting: deque[bytes] = deque()
        self._told, self._synced = False, True
        self._lock = threading.Lock()  # what the disk refused is tried again by another thread than that which adds

    def add(self, line: bytes) -> None:
        """Adds a line, which ends in a newline, after those that wait."""
        with self._lock:
            self._waiting.append(line)
            self._flush()

    def flush(self) -> int:
        """Tries once more to write what the disk refused; returns how many lines it still refuses."""
        with self._lock:
            self._flush()
            return len(self._waiting)

    def sync(self) -> bool:
        """Whether all lines are on the disk, where a loss of power doesn't reach them either."""
        with self._lock:
            self._flush()
            if not self._waiting and not self._synced:
                try:
                    with self.path.open("ab") as file:
                        os.fsync(file.fileno())
                    self._synced = True
                except OSError as error:
                    self._refused(error)
            return self._synced and not self._waiting

    def _flush(self) -> None:
        if not self._waiting:
            return
        try:
            with self.path.open("ab", buffering=0) as file:
                while self._waiting:
                    begin, line = file.tell(), self._waiting[0]
                    if file.write(line) != len(line):  # the disk is full from here on; half a line would spoil the next
                        file.truncate(begin)
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                    self._waiting.popleft()
                    self._synced = False
            self._told = False
        except OSError as error:
            self._refused(error)

    def _refused(self, error: OSError) -> None:
        if not self._told:
            self._on_refused(self.path, error.strerror or str(error))
        self._told = True


def _warn(path: Path, reason: str) -> None:
    _log.warning("%s cannot be written; its points are kept in memory and the run goes on: %s", path, reason)


def read_lines(path: Path, offset: int = 0) -> Iterator[tuple[bytes, int]]:
    """The whole lines from a byte offset on, one by one, each with the offset where it ends; none of what is no file."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                break
            offset += len(line)
            yield line, offset


def cut(path: Path, whole: int) -> None:
    """Takes off what stands after the first `whole` bytes: half a line that a kill has left."""
    if path.exists() and path.stat().st_size > whole:
        os.truncate(path, whole)
