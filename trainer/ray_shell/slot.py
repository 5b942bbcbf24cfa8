"""A slot: a Ray Train run whose workers take one training after another, with the actor that hands them out."""

from __future__ import annotations

import contextlib
import pickle
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayError
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.v2._internal.callbacks.datasets import DatasetsCallback  # a process for data sets, of which Train is handed none
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback  # no public hook tells
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
from ray.util.placement_group import remove_placement_group
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from dualsweep.trainer.errors import TrainingPaused
from dualsweep.trainer.metric_point import Payload
from dualsweep.trainer.ray_shell.job import Job
from dualsweep.trainer.ray_shell.places import per_worker
from dualsweep.trainer.ray_shell.process_group import ProcessGroup
from dualsweep.trainer.ray_shell.receipts import acknowledge, with_receipt
from dualsweep.trainer.ray_shell.slot_actor import Alive, Group, Left, Processes, SlotCoordinator
from dualsweep.trainer.ray_shell.worker import work
from dualsweep.trainer.recipe.run import Resources

#: Seconds that one question for the next message may last.
_PATIENCE = 0.5
#: Seconds in which an actor's process must have started, and workers, as long as Train gives them.
_STARTING, PLACING = 120.0, 600.0
#: Seconds after which a process that does not answer, or of which nothing is heard, counts as dead.
_SILENCE = 60.0


def start_actor(name: str | None = None) -> Any:
    """The handle of a new actor for a slot, on the node of whoever starts it: the fewer nodes, the fewer can be lost."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(SlotCoordinator).options(name=name, num_cpus=0, scheduling_strategy=here).remote()


class _Trainer(DataParallelTrainer):
    """Ray Train's, without a process for data sets, and with a cleaner of which we are told."""

    def _create_default_callbacks(self) -> list[Any]:
        callbacks = super()._create_default_callbacks()
        return [each for each in callbacks if type(each) not in (DatasetsCallback, PlacementGroupCleanerCallback)]


class SlotLostError(RayError):
    """A slot has no processes any more that could go on, or none that answer."""


class _Announce(PlacementGroupCleanerCallback):
    """Tells what a slot can be killed by, its two actors and its placement group; and that the controller lives."""

    def __init__(self, actor: Any) -> None:
        super().__init__()
        self._actor, self._told = actor, 0.0

    def after_controller_start(self, train_run_context: Any) -> None:
        super().after_controller_start(train_run_context)
        # In bytes: the actor between, which only hands them on, would have to import Ray Train and pandas to read them.
        self._actor.announce.remote(pickle.dumps(Processes(ray.get_runtime_context().current_actor, self._cleaner)))

    def after_worker_group_start(self, worker_group: Any) -> None:
        super().after_worker_group_start(worker_group)
        placement = worker_group.get_worker_group_state().placement_group_handle.placement_group
        nodes = frozenset(worker.metadata.node_id for worker in worker_group.get_workers())
        self._actor.announce.remote(Group(placement, nodes))

    def after_worker_group_poll_status(self, worker_group_status: Any) -> None:
        if time.monotonic() - self._told > _SILENCE / 6:
            self._told = time.monotonic()
            self._actor.announce.remote(Alive())


@dataclass(frozen=True)
class Renewal:
    """When a slot's processes have done enough: after so many trainings, or when a worker holds so much more than at first.

    `growth` is the factor on the memory after the first training, `grown` bytes that are added to it.
    """

    trainings: int = 100
    growth: float = 1.5
    grown: int = 256 * 2**20


#: A training has its processes for itself.
FRESH = Renewal(trainings=1)


class Slot:
    """Train's `fit` in a thread of its own, as it hands out nothing while it runs. One training at a time, on `workers`.

    `storage` is where Train keeps its state, a folder or URI that all nodes reach.
    """

    def __init__(self, resources: Resources, workers: int, storage: str, renewal: Renewal) -> None:
        self._resources, self.workers, self._renewal = resources, workers, renewal
        self._name = f"slot-{uuid.uuid4().hex}"
        self._actor = start_actor(self._name)
        self._processes = Processes()
        self._group: Group | None = None
        self._problem: BaseException | None = None
        self._trainings, self._first, self._worn, self._edited = 0, 0, False, False
        self._running: int | None = None
        self._heard = time.monotonic()
        self._thread = threading.Thread(target=self._fit, args=(storage,), name="ray-train", daemon=True)
        self._thread.start()

    def _fit(self, storage: str) -> None:
        trainer = _Trainer(
            work,
            train_loop_config={"slot": self._actor},
            backend_config=ProcessGroup(),
            scaling_config=_scaling(self._resources, self.workers),
            run_config=RunConfig(
                name=f"slot-{time.time_ns()}",
                storage_path=storage,
                callbacks=[_Announce(self._actor)],  # type: ignore[list-item]  # Ray takes its own kind as well
                failure_config=FailureConfig(0),
            ),
        )
        try:
            trainer.fit()
        except BaseException as error:
            self._problem = error

    def takes(self, resources: Resources) -> bool:
        """Whether it can take another training, of these resources."""
        bounds = resources.least, resources.most, per_worker(resources)
        same = bounds == (self._resources.least, self._resources.most, per_worker(self._resources))
        return same and not self._worn and self._running is None and self._thread.is_alive()

    def reports(self, job: Job, *, kept: bool = True) -> Iterator[Payload | None]:
        """Trains `job`: each report, the last one included, and None now and then while there is none.

        Whoever asks for the next keeps the one before; unless `kept` is false, where only `receipts.acknowledge` says so.

        Raises:
            EditedModules: the user's modules have changed since they were imported, and nothing was trained.
            SlotLostError: its processes ended without a result, or do not answer.
            TrainingPaused: it was asked to leave, or one of its workers was told to end.
            BaseException: what Train raised, where the training broke off.
        """
        self._running = ray.get(self._actor.give.remote(job), timeout=_STARTING)
        self._heard = time.monotonic()
        while self._running is not None:
            over = not self._thread.is_alive()  # asked before the actor: what was reported before the end is there by then
            message = self._next()
            if message is None and over:
                raise self._problem or SlotLostError("its workers ended without a result")
            if self._silent > (_SILENCE if self._group is not None else PLACING):
                raise SlotLostError(f"nothing was heard of its processes for {self._silent:.0f} s")
            if self._running is not None:
                payload = with_receipt(message, self._name, self._running) if isinstance(message, dict) else None
                yield payload
                if kept and payload is not None:
                    acknowledge(payload)

    def stop(self, seconds: float) -> None:
        """Ends the training that runs, at its next dual step; where that isn't within so many seconds, the slot is killed."""
        end = time.monotonic() + seconds
        with contextlib.suppress(RayError):
            ray.get(self._actor.stop.remote(self._running), timeout=seconds)
        with contextlib.suppress(EditedModules, TrainingPaused):
            while self._running is not None and self._thread.is_alive() and time.monotonic() < end:
                self._next()
        if self._running is not None or self._edited:
            self.kill()

    def pause(self) -> None:
        """Has the training that runs save after its next dual step, and leave: `reports` ends with that. Waits for nothing."""
        if self._running is not None:
            self._actor.pause.remote(self._running)

    def _next(self) -> Any:
        """The next message, a report among them; handles and ends are noted. None where there is none.

        So it is without the actor as well, whose loss ends the workers too.
        """
        try:
            message = ray.get(self._actor.next.remote(_PATIENCE), timeout=_SILENCE)
        except RayError:
            time.sleep(_PATIENCE)
            return None
        if message is not None:
            self._heard = time.monotonic()
        if isinstance(message, Left):
            self._leave(message)
        elif isinstance(message, Group):
            self._group = message
        elif isinstance(message, bytes):
            self._processes = pickle.loads(message)
        return message

    @property
    def waits_for(self) -> str:
        """What the training that was given waits for, where it has not begun; empty where it has."""
        return "" if self._group is not None else f"{self.workers} worker(s) of {per_worker(self._resources)} each"

    @property
    def nodes(self) -> frozenset[str]:
        """The ids of the nodes that its workers are on."""
        return frozenset() if self._group is None else self._group.nodes

    @property
    def _silent(self) -> float:
        """Seconds since anything was heard of the slot's processes."""
        return time.monotonic() - self._heard

    def _leave(self, left: Left) -> None:
        if left.training != self._running:
            return
        self._running = None
        if left.edited:
            self._edited = self._worn = True
            raise EditedModules(f"modules have changed since they were imported: {', '.join(left.edited)}")
        if left.paused:
            self._worn = True
            raise TrainingPaused("the training has left its processes")
        self._trainings += 1
        self._first = self._first or left.memory
        most = self._renewal.growth * self._first + self._renewal.grown
        self._worn = self._trainings >= self._renewal.trainings or left.memory > most

    def end(self, seconds: float = 30) -> None:
        """Lets the workers go, and waits for the slot's end."""
        with contextlib.suppress(RayError):
            if self._running is None and not self._edited:  # else workers may wait for each other
                ray.get(self._actor.end.remote(), timeout=seconds)
                self._thread.join(seconds)
        self.kill()

    def kill(self, seconds: float = 30) -> None:
        """Ends the slot, its workers and its placement group, and waits for its thread: Ray's shutdown crashes the process
        (SIGSEGV) while a thread is in a call. After the end it does nothing.

        Killed rather than asked to abort: Ctrl-C reaches the controller's process too, which then answers only after seconds.
        The controller first, which would take the loss of its workers for a failure and start others; then the placement
        group, and Train's cleaner, which would remove it: that one misses the controller by asking the dashboard, which a busy
        machine may leave without an answer for long.
        """
        end = time.monotonic() + seconds
        while self._thread.is_alive() and time.monotonic() < end:
            with contextlib.suppress(RayError, EditedModules, TrainingPaused):
                if self._processes.controller is not None:
                    ray.kill(self._processes.controller)
                self._next()
        if self._group is not None:
            with contextlib.suppress(RayError):
                remove_placement_group(self._group.placement)
        for actor in (self._processes.cleaner, self._actor):
            with contextlib.suppress(RayError):
                if actor is not None:
                    ray.kill(actor)


class EditedModules(Exception):  # noqa: N818  # nothing went wrong
    """A slot's workers have imported modules that have changed since."""


def _scaling(resources: Resources, workers: int) -> ScalingConfig:
    asked = per_worker(resources)
    return ScalingConfig(num_workers=workers, use_gpu=resources.gpus_per_worker > 0, resources_per_worker=asked)
