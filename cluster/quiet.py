"""Keeping one false alarm of Ray's off the screen.

On our own local cluster a nested trial is a handful of processes that ask for no CPU, so on a small machine Ray warns that
more workers run than it expected and points to an issue. It prints this to the driver's standard output and has no setting
for it.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

FALSE_ALARM = "worker processes have been started on node"


class _Filter:
    """A text stream without the lines of the false alarm; everything else is the stream's own."""

    def __init__(self, stream: Any) -> None:
        self._stream, self._dropped = stream, False

    def write(self, text: str) -> int:
        if FALSE_ALARM in text:
            self._dropped = True
            return len(text)
        if self._dropped and text == "\n":  # the line end that `print` writes after it
            self._dropped = False
            return 1
        self._dropped = False
        written: int = self._stream.write(text)
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def without_false_alarms() -> Iterator[None]:
    """While this lasts, standard output passes through the filter."""
    before = sys.stdout
    ours: Any = _Filter(before)
    sys.stdout = ours
    try:
        yield
    finally:
        if sys.stdout is ours:
            sys.stdout = before
