"""A training on Ray followed report by report, started again where a process died, and ended early where that is asked for."""

from __future__ import annotations

import posixpath
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any

import ray
from ray.exceptions import OutOfMemoryError, RayError, RayTaskError
from ray.train.v2.api.exceptions import ControllerError, TrainingFailedError, WorkerGroupError

from dualsweep.trainer.engine.room import no_room
from dualsweep.trainer.errors import TrainingError, TrainingInterrupted, TrainingPaused
from dualsweep.trainer.metric_point import Payload
from dualsweep.trainer.patient_files import StoreAwayError
from dualsweep.trainer.ray_shell.job import Job
from dualsweep.trainer.ray_shell.places import look, per_worker
from dualsweep.trainer.ray_shell.placing import Placing
from dualsweep.trainer.ray_shell.receipts import acknowledge
from dualsweep.trainer.ray_shell.slot import PLACING, EditedModules, Slot, SlotLostError
from dualsweep.trainer.ray_shell.slots import Slots
from dualsweep.trainer.ray_shell.tracebacks import TRACEBACK, error_in, own_line
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.recipe.run import Resources
from dualsweep.trainer.storage import ERROR, write_files


class NotPlacedError(Exception):
    """A slot's workers did not find the places that seemed to be free."""


#: Seconds between two looks whether workers fit.
_PAUSE = 0.5
OnReport = Callable[[Payload], bool | None]
#: What the other members of a process group say of one that has died, Gloo and NCCL alike, in a plain RuntimeError.
_PEER_GONE = ("Connection closed by peer", "Connection reset by peer", "remote process exited")


class Training:
    """One training, on the slot that `slots` has or starts for it; `beside` of them share the cluster.

    `moves`: this process can be given up for one on another node, where its own is about to go. What went wrong is written to the
    job's output as `error.txt`.
    """

    def __init__(self, job: Job, slots: Slots, beside: int = 1, *, moves: bool = False) -> None:
        self._job, self._slots = job, slots
        self._recipe = Recipe.model_validate(job.recipe)
        self._resources: Resources = self._recipe.resources
        self._placing = Placing(self._resources, beside, look, ray.get_runtime_context().get_node_id() if moves else "")
        self._slot: Slot | None = None
        self._report: Payload = {}
        self._why = ""

    def reports(self, *, kept: bool = True) -> Iterator[Payload | None]:
        """Each report, the last one included, and None now and then while there is none.

        Whoever asks for the next keeps the one before; unless `kept` is false, where only `receipts.acknowledge` says so.

        It starts again from its checkpoint when a process of its own dies, whichever, or its code raises, `retries` times
        together. An error of the code that comes again is one that every attempt ends with, as runs repeat exactly.

        Where a node of its is about to go, where one of its workers is told to end, and where more workers fit than it has, it
        saves and goes on with others, as often as need be: the first report afterwards says why it has `moved`.

        Raises:
            TrainingError: after the last report, where the training's own code broke it off, or where the process that died
                once more was ended as its node's memory ran out.
            TrainingInterrupted: there too, where it was once more another death of a process.
            TrainingPaused: it has saved, and this process's node is about to go.
        """
        before = ""
        for left in reversed(range(self._resources.retries + 1)):
            try:
                yield from self._attempt(kept)
                return
            except (RayError, TrainingFailedError) as error:
                if reason := _reason(error):
                    raise TrainingError(reason) from None
                said = error_in(whole(error))
                if is_loss(error):
                    if not left and (cause := _out_of_memory(error)):
                        raise no_room("a primal step", self._recipe, cause) from error
                    if not left:
                        raise TrainingInterrupted(f"{said} ({self._resources.retries + 1} times)") from error
                    continue
                if not left or said == before:
                    raise TrainingError(self._told(whole(error))) from error
                before = said

    def _attempt(self, kept: bool) -> Iterator[Payload | None]:
        while True:
            try:
                slot = yield from self._started()
                for payload in slot.reports(self._job, kept=kept):
                    yield self._told_of_move(payload)
                    self._look(slot)
                self._slot = None
                return
            except (EditedModules, NotPlacedError):
                self._slots.kill()  # and with another slot's workers modules are imported anew
            except TrainingPaused:
                self._slots.kill()
                self._why = self._why or "a process of its was told to end"
                if self._placing.own_leaves:
                    raise TrainingPaused(self._why) from None
            except Exception:
                self._slots.kill()
                self._why = ""
                raise

    def _started(self) -> Generator[None, None, Slot]:
        """The slot for this training, once its workers fit.

        Raises:
            SlotLostError: they have not for so long as Ray would wait for them.
        """
        end = time.monotonic() + PLACING
        self._slot = self._slots.taking(self._resources)
        while self._slot is None:
            if workers := self._placing.workers():
                self._slot = self._slots.start(self._resources, workers, self._job.storage)
            elif time.monotonic() > end:
                raise SlotLostError(f"there was no place for {self.waits_for} for {PLACING:.0f} s")
            else:
                time.sleep(_PAUSE)
                yield None
        return self._slot

    def _told_of_move(self, payload: Payload | None) -> Payload | None:
        """Keeps a report; the first one after a move tells of that."""
        if payload is None:
            return None
        self._report, why, self._why = payload, self._why, ""
        return {**payload, "moved": why} if why else payload

    def _look(self, slot: Slot) -> None:
        """Has the training leave where it should, and has what was not placed start anew."""
        if self._placing.unplaced(bool(slot.nodes)):
            raise NotPlacedError
        if slot.nodes and (why := self._placing.leaves(slot.workers, slot.nodes, self._report)):
            self._why = why
            slot.pause()

    @property
    def waits_for(self) -> str:
        """What it waits for, where it has not begun yet; empty where it has."""
        if self._slot is not None:
            return self._slot.waits_for
        return f"{self._resources.least} worker(s) of {per_worker(self._resources)} each"

    def stop(self, seconds: float) -> None:
        """Ends it at its next dual step, or with its slot where that takes longer. After its end it does nothing."""
        slot, self._slot = self._slot, None
        if slot is not None:
            slot.stop(seconds)

    def _told(self, text: str) -> str:
        """The error in a few words, with where all of it is; that it can't be written must not hide it."""
        own = own_line(text)
        told = [f"raised at {own}"] if own else []
        try:
            write_files(self._job.output, {ERROR: text.encode(errors="replace")})
            told = [f"all of it is in {posixpath.join(self._job.output, ERROR)}", *told]
        except OSError as error:
            told += [f"{ERROR} could not be written: {error.strerror or error}"]
        return f"{error_in(text)} ({'; '.join(told)})"


def follow(job: Job, on_report: OnReport) -> None:
    """Trains `job` in processes of its own and calls `on_report` in this thread with each report, the last one included.

    Where it answers False, the points so far are not where a kill doesn't reach them: they stay with the workers' checkpoints.

    Raises:
        TrainingError: with the reason; what the workers said of it is in `error.txt` of the output.
        TrainingInterrupted: its processes died, more often than it is started again.
    """
    slots = Slots()
    try:
        for payload in Training(job, slots).reports(kept=False):
            if payload is not None and on_report(payload) is not False:
                acknowledge(payload)
    except BaseException:
        slots.kill()
        raise
    slots.end()


def _reason(error: BaseException) -> str:
    """The reason of a training that says itself why trying again won't fix it; empty where none does."""
    failures = _failures(error)
    causes = [each if isinstance(each, TrainingError) else each.__cause__ for each in failures]
    return next((str(each) for each in causes if isinstance(each, TrainingError)), "")


def is_loss(error: BaseException | None) -> bool:
    """Whether a process died, or did not answer, and not the code in it: of several failures one such is the cause of all."""
    return any(_is_death(cause) for each in _failures(error) for cause in (each, each.__cause__))


def _out_of_memory(error: BaseException) -> OutOfMemoryError | None:
    """What Ray says where it has ended a process as its node's memory ran out."""
    causes = [cause for each in _failures(error) for cause in (each, each.__cause__)]
    causes += [each.cause for each in causes if isinstance(each, RayTaskError)]
    return next((each for each in causes if isinstance(each, OutOfMemoryError)), None)


def _is_death(error: BaseException | None) -> bool:
    if isinstance(error, RayTaskError):  # what code in another process raised, which may have been told of a death there
        return _is_death(error.cause)
    of_train = type(error).__module__.startswith("ray.train")  # of a worker that does not answer, or has none to start
    return isinstance(error, RayError | StoreAwayError) or of_train or any(word in str(error) for word in _PEER_GONE)


def _failures(error: BaseException | None) -> list[BaseException]:
    """What an error of Train's was made of: of each worker that failed, or of its controller."""
    if isinstance(error, WorkerGroupError):
        return list(error.worker_failures.values())
    if isinstance(error, ControllerError):
        return [error.controller_failure]
    return [] if error is None else [error]


def whole(error: BaseException) -> str:
    """All that an error says: of several workers' the first one's traceback, which Ray's own message cuts short.

    What Ray keeps of a worker is its traceback, or the bare exception; of that only the message has one.
    """
    failures: dict[int, Any] = getattr(error, "worker_failures", None) or {}
    first = failures[min(failures)] if failures else error
    texts = [str(each).strip() for each in (first, first.__cause__, error) if each is not None]
    with_traceback = [text for text in texts if TRACEBACK in text]
    return with_traceback[0] if with_traceback else next(filter(None, texts), type(error).__name__)
