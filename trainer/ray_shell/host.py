"""The worker loop hosted by Ray Train: a `Host` over its context, and the slot's actor as the coordinator."""

from __future__ import annotations

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
from dualsweep.trainer.ray_shell.collectives import agreed, gathered
from dualsweep.trainer.ray_shell.slot_actor import SlotCoordinator


class ActorCoordinator:
    """A worker's view of the coordinator of one training, `number` of the slot."""

    def __init__(
        self, actor: ActorHandle[SlotCoordinator], number: int, controller: DualController, rank: int, world: int
    ) -> None:  # fmt: skip
        self._actor, self._number, self._controller, self._rank, self._world = actor, number, controller, rank, world

    def begin(self, state: DualState, world: int) -> None:
        """Every worker has read the same state from the same checkpoint; the first one's is taken before any reports."""
        if self._rank == 0:
            ray.get(self._actor.begin.remote(self._number, self._controller, state, world))
        if self._world > 1:
            distributed.barrier()

    def exchange(self, report: SlackReport) -> Callable[[], DualState]:
        answer: Any = self._actor.exchange.remote(self._number, report)
        return lambda: ray.get(answer)


class TrainHost:
    """A worker of a Ray Train run, for training `number` of its slot; to be made inside its training function."""

    def __init__(
        self, actor: ActorHandle[SlotCoordinator], number: int, controller: DualController, checkpoints: CheckpointFolder
    ) -> None:  # fmt: skip
        context = ray.train.get_context()
        self.rank, self.world = context.get_world_rank(), context.get_world_size()
        self.device: torch.device = ray.train.torch.get_device()
        self.coordinator: Coordinator = ActorCoordinator(actor, number, controller, self.rank, self.world)
        self.checkpoints = checkpoints
        self._actor, self._number = actor, number

    def report(self, payload: Payload) -> int | None:
        """Returns once the slot's actor has it, where Train's own `report` would wait for its controller to look."""
        if self.rank:
            return None
        answer: Any = self._actor.report.remote(self._number, payload)
        taken: int | None = ray.get(answer)
        return taken

    def gather(self, own: bytes) -> list[bytes] | None:
        return [own] if self.world == 1 else gathered(own, self.device)

    def agree(self, number: int) -> int:
        return number if self.world == 1 else agreed(number, self.device)

    def total(self, tensor: Tensor) -> Tensor:
        if self.world > 1:
            tensor = tensor.clone()
            distributed.all_reduce(tensor)
        return tensor
