"""Several workers without Ray: plain processes that meet in a group of gloo."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, multiprocessing

from dualsweep.trainer.checkpoint import CheckpointFolder
from dualsweep.trainer.dual.coordinator import DualController
from dualsweep.trainer.dual.state import DualState, SlackReport
from dualsweep.trainer.engine.host import LocalHost
from dualsweep.trainer.ray_shell.collectives import agreed, gathered
from dualsweep.trainer.recipe.recipe import Recipe

CPU = torch.device("cpu")
#: Seconds after which workers of which one asks for a collective and another does not are ended.
_PATIENCE = 120


class Together:
    """A coordinator in each process, which moves by the reports of all; `states` are those after each dual step, by version."""

    pauses = False

    def __init__(self, controller: DualController) -> None:
        self._controller = controller
        self.states: dict[int, DualState] = {}

    def begin(self, state: DualState, world: int) -> None:
        self._state, self._world = state, world

    def exchange(self, report: SlackReport) -> Callable[[], DualState]:
        reports: list[Any] = [None] * self._world
        distributed.all_gather_object(reports, report)  # from the test's own processes
        state = self._state = self._controller.advance(self._state, reports, self._world)
        self.states[state.version] = state
        return lambda: state


class GroupHost(LocalHost):
    """This process of the group."""

    def gather(self, own: bytes) -> list[bytes] | None:
        return gathered(own, CPU)

    def agree(self, number: int) -> int:
        return agreed(number, CPU)

    def total(self, tensor: Tensor) -> Tensor:
        tensor = tensor.clone()
        distributed.all_reduce(tensor)
        return tensor


def host_of(recipe: Recipe, folder: Path, coordinator: Together) -> GroupHost:
    """The host of a training whose checkpoints are in `folder`."""
    checkpoints = CheckpointFolder(str(folder / "checkpoints"), recipe.checkpoint.keep)
    rank, world = distributed.get_rank(), distributed.get_world_size()
    return GroupHost(coordinator, checkpoints, rank=rank, world=world)


def _member(rank: int, world: int, folder: Path, body: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    store = distributed.FileStore(str(folder / "store"), world)  # type: ignore[attr-defined]  # torch types no such name
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=world, timeout=timedelta(seconds=_PATIENCE))
    torch.save(body(*arguments), folder / f"{rank}.pt")
    distributed.barrier()
    distributed.destroy_process_group()


def in_group(world: int, folder: Path, body: Callable[..., Any], *arguments: Any) -> list[Any]:
    """What `body(*arguments)` returns in each of `world` processes, of tensors and plain values; `folder` must be new."""
    folder.mkdir(parents=True)
    multiprocessing.spawn(_member, (world, folder, body, arguments), nprocs=world)  # type: ignore[attr-defined]
    return [torch.load(folder / f"{rank}.pt") for rank in range(world)]
