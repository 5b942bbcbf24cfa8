"""Trainings by several workers without Ray: plain processes that meet in a group of gloo."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, multiprocessing

from dualsweep.trainer.checkpoint import CheckpointFolder
from dualsweep.trainer.dual.coordinator import DualController
from dualsweep.trainer.dual.state import DualState, SlackReport
from dualsweep.trainer.engine.dual_side import controller_of
from dualsweep.trainer.engine.host import LocalHost
from dualsweep.trainer.ray_shell.collectives import agreed, gathered
from dualsweep.trainer.recipe.recipe import Recipe

CPU = torch.device("cpu")


class Together:
    """A coordinator in each process, which moves by the reports of all; `states` are those after each dual step."""

    def __init__(self, controller: DualController) -> None:
        self._controller = controller
        self.states: list[DualState] = []

    def begin(self, state: DualState, world: int) -> None:
        self._state, self._world = state, world

    def exchange(self, report: SlackReport) -> Callable[[], DualState]:
        reports: list[Any] = [None] * self._world
        distributed.all_gather_object(reports, report)  # of the tests' own processes
        self._state = self._controller.advance(self._state, reports, self._world)
        self.states.append(self._state)
        state = self._state
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


def host_of(recipe: Recipe, checkpoints: Path) -> GroupHost:
    """A host whose coordinator is a `Together`."""
    rank, world = distributed.get_rank(), distributed.get_world_size()
    coordinator = Together(controller_of(recipe))
    return GroupHost(coordinator, CheckpointFolder(str(checkpoints), recipe.checkpoint.keep), rank=rank, world=world)


def _member(rank: int, world: int, folder: Path, body: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    store = distributed.FileStore(str(folder / "store"), world)  # type: ignore[attr-defined]  # torch types no such name
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=world)
    torch.save(body(*arguments), folder / f"{rank}.pt")
    distributed.barrier()
    distributed.destroy_process_group()


def in_group(world: int, folder: Path, body: Callable[..., Any], *arguments: Any) -> list[Any]:
    """What `body(*arguments)` returns in each of `world` processes, tensors and plain values; `folder` must be new."""
    folder.mkdir(parents=True)
    multiprocessing.spawn(_member, (world, folder, body, arguments), nprocs=world)  # type: ignore[attr-defined]
    return [torch.load(folder / f"{rank}.pt") for rank in range(world)]
