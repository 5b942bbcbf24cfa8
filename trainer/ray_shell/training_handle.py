"""A training on Ray followed report by report, and ended early where that is asked for, with nothing of it left behind."""

from __future__ import annotations

import contextlib
import posixpath
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import ray
from ray.exceptions import RayError
from ray.train import UserCallback
from ray.train.v2._internal.execution.callback import (  # no public hooks name the controller and the placement group
    ControllerCallback,
    WorkerGroupCallback,
)
from ray.train.v2.api.exceptions import TrainingFailedError
from ray.util.placement_group import PlacementGroup, remove_placement_group
from ray.util.queue import Empty, Queue

from dualsweep.trainer.engine.host import Payload
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.ray_shell.tracebacks import TRACEBACK, error_in, own_line
from dualsweep.trainer.storage import ERROR, write_files


class _Forward(UserCallback):
    """Puts rank 0's reports into a queue that the driver reads."""

    def __init__(self, reports: Queue) -> None:
        self._reports = reports

    def after_report(self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Any) -> None:
        self._reports.put(metrics[0])


class _Announce(ControllerCallback, WorkerGroupCallback):
    """Puts what a training can be stopped by into that queue as well: its controller, an actor, and its placement group."""

    def __init__(self, reports: Queue) -> None:
        self._reports = reports

    def after_controller_start(self, train_run_context: Any) -> None:
        self._reports.put(ray.get_runtime_context().current_actor)

    def after_worker_group_start(self, worker_group: Any) -> None:
        self._reports.put(worker_group.get_worker_group_state().placement_group_handle.placement_group)


class Training:
    """`run(callbacks)` in a thread of its own: Train's `fit` hands out no reports while it runs.

    What went wrong is written to `output` as `error.txt`.
    """

    def __init__(self, run: Callable[[Sequence[Any]], None], output: str) -> None:
        self._output = output
        self._queue = Queue(actor_options={"num_cpus": 0})
        self._controller: Any = None
        self._group: PlacementGroup | None = None
        self._problem: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(run,), name="ray-train", daemon=True)
        self._thread.start()

    def _run(self, run: Callable[[Sequence[Any]], None]) -> None:
        try:
            run([_Forward(self._queue), _Announce(self._queue)])
        except BaseException as error:
            self._problem = error

    def reports(self) -> Iterator[Payload | None]:
        """Each report, the last one included, and None now and then while there is none.

        Raises:
            TrainingError: after the last report, where the training broke off.
        """
        while True:
            over = not self._thread.is_alive()  # asked before the queue: what was reported before the end is in it by then
            payload = self._next()
            if payload is None and over:
                break
            yield payload
        self._queue.shutdown()
        if isinstance(self._problem, TrainingFailedError):
            raise TrainingError(self._told(whole(self._problem))) from self._problem
        if self._problem is not None:
            raise self._problem

    def _told(self, text: str) -> str:
        """The error in a few words, with where all of it is; that it can't be written must not hide it."""
        own = own_line(text)
        told = [f"raised at {own}"] if own else []
        try:
            write_files(self._output, {ERROR: text.encode(errors="replace")})
            told = [f"all of it is in {posixpath.join(self._output, ERROR)}", *told]
        except OSError as error:
            told += [f"{ERROR} could not be written: {error.strerror or error}"]
        return f"{error_in(text)} ({'; '.join(told)})"

    def _next(self) -> Payload | None:
        with contextlib.suppress(Empty):
            message = self._queue.get(timeout=0.2)
            if isinstance(message, dict):
                return message
            if isinstance(message, PlacementGroup):
                self._group = message
            else:
                self._controller = message
        return None

    def stop(self, seconds: float = 30) -> None:
        """Ends the training, its workers and its placement group, and waits for its thread: Ray's shutdown crashes the process
        (SIGSEGV) while a thread is in a call. After the end it does nothing.

        Killed rather than asked to abort: Ctrl-C reaches the controller's process too, which then answers only after seconds.
        The controller first, which would take the loss of its workers for a failure and start others; then the placement
        group, which Train's own cleaner removes only after it has missed the controller, once a second.
        """
        running, end = self._thread.is_alive(), time.monotonic() + seconds
        while self._thread.is_alive() and time.monotonic() < end:
            with contextlib.suppress(RayError):
                if self._controller is not None:
                    ray.kill(self._controller)
                self._next()
        if running and self._group is not None:
            with contextlib.suppress(RayError):
                remove_placement_group(self._group)
        with contextlib.suppress(RayError):
            self._queue.shutdown(force=True)


def follow(training: Training, on_report: Callable[[Payload], None]) -> None:
    """Calls `on_report` in this thread with each report, the last one included, before it returns.

    Raises:
        TrainingError: with the reason; what the workers said of it is in `error.txt` of the output.
    """
    try:
        for payload in training.reports():
            if payload is not None:
                on_report(payload)
    except TrainingError:
        raise
    except BaseException:
        training.stop()
        raise


def whole(error: BaseException) -> str:
    """All that an error says: of several workers' the first one's traceback, which Ray's own message cuts short.

    What Ray keeps of a worker is its traceback, or the bare exception; of that only the message has one.
    """
    failures = getattr(error, "worker_failures", None) or {}
    first = failures[min(failures)] if failures else error
    texts = [str(each).strip() for each in (first, first.__cause__, error) if each is not None]
    with_traceback = [text for text in texts if TRACEBACK in text]
    return with_traceback[0] if with_traceback else next(filter(None, texts), type(error).__name__)
