"""Ending as cleanly on SIGTERM (from a scheduler, or a job's stop) and SIGHUP (of a terminal) as on Ctrl-C, and soon."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType

from dualsweep.sweeps.exits import INTERRUPTED
from dualsweep.sweeps.typed import same_again

_LIKE_INTERRUPT = (signal.SIGTERM, signal.SIGHUP)
#: Seconds that a command has to end by itself after the first signal: `dualsweep stop` is answered within six, and a waiting
#: scheduler kills after ten.
GRACE = 5.0
#: Of these, what it may wait at its end for a store that is away: the rest is for what it writes and says then.
SOON = 1.5
#: Whether this process was asked to end.
asked_to_end = threading.Event()


def terminate_like_interrupt() -> None:
    """From now on SIGTERM and SIGHUP act as Ctrl-C. To be called again once connected: Ray sets a handler of its own then.

    SIGHUP stays ignored where it was, as under nohup. Ctrl-C itself does not: a shell without job control starts what it puts in
    the background with SIGINT ignored, and there would be no way to end that. Does nothing outside the main thread, where Python
    allows no handlers.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    for number in _LIKE_INTERRUPT:
        if number is signal.SIGTERM or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextlib.contextmanager
def handlers_restored() -> Iterator[None]:
    """Afterwards signals do what they did before: who called from Python goes on, and has handlers of its own. Ray sets some too.

    Does nothing outside the main thread, where none are set either.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, *_LIKE_INTERRUPT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:  # one that is not Python's, which Python cannot set either
                signal.signal(number, handler)


def end_soon() -> None:
    """From the first SIGINT, SIGTERM or SIGHUP on this process has `GRACE` seconds; then it ends with the code of what was
    interrupted, whatever it waits for. What is written down is whole at any time.

    Handlers may be replaced afterwards: it looks at what arrives.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=_end, args=(reader,), daemon=True, name="end-soon").start()


def interrupt_main_thread() -> None:
    """From any thread, what Ctrl-C would do: to the main thread itself, as a signal that another one takes ends no waiting.

    By SIGTERM where that acts as Ctrl-C: Ray starts its jobs with SIGINT blocked, which would wait for ever.
    """
    number = signal.SIGTERM if signal.getsignal(signal.SIGTERM) is _interrupt else signal.SIGINT
    signal.pthread_kill(threading.main_thread().ident or 0, number)


def _end(reader: int) -> None:
    while os.read(reader, 1)[0] not in (signal.SIGINT, *_LIKE_INTERRUPT):
        pass
    asked_to_end.set()
    time.sleep(GRACE)
    print(f"dualsweep: not ended within {GRACE:g} s, and ended now; to continue, {same_again()}", file=sys.stderr)
    sys.stderr.flush()
    os._exit(INTERRUPTED)


def _interrupt(_number: int, frame: FrameType | None) -> None:
    """Acts as Ctrl-C would now, which Ray Tune takes in its own way while it runs.

    The signal itself is not raised: Ray starts its jobs with SIGINT blocked, and it would wait for ever.
    """
    handler = signal.getsignal(signal.SIGINT)
    if not callable(handler):  # whoever set it so after us
        raise KeyboardInterrupt
    handler(signal.SIGINT, frame)
