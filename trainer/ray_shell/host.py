"""The worker loop hosted by Ray Train: a `Host` over its context, and the slot's actor as the coordinator."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import ray
import ray.train
import ray.train.torch
import torch
from ray.actor import ActorHandle
from torch import Tensor, distributed

from dualsweep.trainer.checkpoint import CheckpointFolder
from dualsweep.trainer.dual.coordinator import Coordinator, DualController
from dualsweep.trainer.dual.state import DualState, SlackReport
from dualsweep.trainer.metric_point import Payload
from dualsweep.trainer.ray_shell import notice
from dualsweep.trainer.ray_shell.collectives import agreed, gathered
from dualsweep.trainer.ray_shell.live_metrics import LiveMetrics
from dualsweep.trainer.ray_shell.slot_actor import SlotCoordinator


class ActorCoordinator:
    """A worker's view of the coordinator of one training, `number` of the slot."""

    def __init__(
        self, actor: ActorHandle[SlotCoordinator], number: int, controller: DualController, rank: int, world: int,
        observed: dict[str, float],
    ) -> None:  # fmt: skip
        self._actor, self._number, self._controller, self._rank, self._world = actor, number, controller, rank, world
        self._observed = observed
        self.pauses = False

    def begin(self, state: DualState, world: int) -> None:
        """Every worker has read the same state from the same checkpoint; the first one's is taken before any reports."""
        if self._rank == 0:
            ray.get(self._actor.begin.remote(self._number, self._controller, state, world))
        if self._world > 1:
            distributed.barrier()

    def exchange(self, report: SlackReport) -> Callable[[], DualState]:
        answer: Any = self._actor.exchange.remote(self._number, report, notice.is_given())
        return lambda: self._waited(answer)

    def _waited(self, answer: Any) -> DualState:
        asked = time.monotonic()
        state: DualState
        state, self.pauses = ray.get(answer)
        self._observed["coordinator_wait_seconds"] = time.monotonic() - asked
        return state


class TrainHost:
    """A worker of a Ray Train run, for training `number` of its slot; to be made inside its training function."""

    def __init__(
        self, actor: ActorHandle[SlotCoordinator], number: int, controller: DualController, checkpoints: CheckpointFolder,
        output: str,
    ) -> None:  # fmt: skip
        context = ray.train.get_context()
        self.rank, self.world = context.get_world_rank(), context.get_world_size()
        self.device: torch.device = ray.train.torch.get_device()
        self.observed: dict[str, float] = {}
        self.coordinator: Coordinator = ActorCoordinator(actor, number, controller, self.rank, self.world, self.observed)
        self.checkpoints = checkpoints
        self._actor, self._number = actor, number
        self._shown, self._where = LiveMetrics(output, str(self.rank)), where()
        self._last: tuple[int, float] | None = None

    def report(self, payload: Payload) -> int | None:
        """Returns once the slot's actor has it, where Train's own `report` would wait for its controller to look.

        It says as well how many workers there are, on which node this one is, and in which file of Ray's logs there is what it
        prints.
        """
        step, seconds = payload["step"], payload["seconds"]
        if self._last is not None and step > self._last[0]:
            self.observed["step_seconds"] = (seconds - self._last[1]) / (step - self._last[0])
        self._last = step, seconds
        self._shown.show({"step": step, **self.observed})
        if self.rank:
            return None
        answer: Any = self._actor.report.remote(self._number, {**payload, "workers": self.world, **self._where})
        taken: int | None = ray.get(answer)
        return taken

    def end(self) -> None:
        """The training is over in this process, well or not."""
        self._shown.end()

    def gather(self, own: bytes) -> list[bytes] | None:
        return [own] if self.world == 1 else gathered(own, self.device)

    def agree(self, number: int) -> int:
        return number if self.world == 1 else agreed(number, self.device)

    def total(self, tensor: Tensor) -> Tensor:
        if self.world > 1:
            tensor = tensor.clone()
            distributed.all_reduce(tensor)
        return tensor


def where() -> dict[str, str]:
    """Where this process runs: the `node`'s address, and the `log` that Ray keeps there of what it prints."""
    context = ray.get_runtime_context()
    log = f"worker-{context.get_worker_id()}-{context.get_job_id()}-{os.getpid()}.out"
    return {"node": ray.util.get_node_ip_address(), "log": log}  # type: ignore[no-untyped-call]
