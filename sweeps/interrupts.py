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


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        raise KeyboardInterrupt  # a shell's background jobs ignore Ctrl-C, which is meant for others
    signal.raise_signal(signal.SIGINT)
