"""Ending as cleanly on SIGTERM (from a scheduler, or a job's stop) as on Ctrl-C."""

from __future__ import annotations

import signal
import threading
from types import FrameType


def terminate_like_interrupt() -> None:
    """From now on SIGTERM acts as Ctrl-C. To be called once connected: Ray sets a handler of its own when it connects.

    Does nothing outside the main thread, where Python allows no handlers.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(_number: int, frame: FrameType | None) -> None:
    """Acts as Ctrl-C would now, which Ray Tune takes in its own way while it runs.

    The signal itself is not raised: Ray starts its jobs with SIGINT blocked, and it would wait for ever.
    """
    handler = signal.getsignal(signal.SIGINT)
    if not callable(handler):  # a shell's background jobs ignore Ctrl-C, which is meant for others
        raise KeyboardInterrupt
    handler(signal.SIGINT, frame)
