"""Notice that this process is to end soon: SIGTERM, as schedulers and machines that are taken away send it some time before."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType

_given = threading.Event()


def heed() -> None:
    """From now on the first SIGTERM gives notice, where Ray would end this process at once; another one ends it.

    To be called in the main thread, where alone Python allows handlers.
    """
    _given.clear()
    signal.signal(signal.SIGTERM, _note)


def is_given() -> bool:
    """Whether this process has been told to end."""
    return _given.is_set()


def _note(number: int, _frame: FrameType | None) -> None:
    if _given.is_set():
        os._exit(128 + number)
    _given.set()
