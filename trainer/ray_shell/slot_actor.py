"""The central actor of a slot: hands its workers one training after another, owns their multipliers, takes their reports."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from dualsweep.trainer.dual.coordinator import CoordinatorServer, DualController
from dualsweep.trainer.dual.state import DualState, SlackReport
from dualsweep.trainer.metric_point import Payload
from dualsweep.trainer.ray_shell.job import Job
from dualsweep.trainer.ray_shell.live_metrics import LiveMetrics


@dataclass(frozen=True)
class Left:
    """A training that all workers of a slot have left, or one that a worker would not take up.

    `memory` is the largest of what a worker holds afterwards, bytes; `edited` the user's modules whose files have changed since
    a worker imported them: it has not trained, as it would have trained with what is there no more. `paused`: it is not over,
    and its checkpoint is written.
    """

    training: int
    memory: int = 0
    edited: tuple[str, ...] = ()
    paused: bool = False


@dataclass(frozen=True)
class Processes:
    """Handles of Ray Train's two actors of a slot: its controller, and the cleaner that outlives it."""

    controller: Any = None
    cleaner: Any = None


@dataclass(frozen=True)
class Group:
    """A slot's workers have been placed: their placement group, and the ids of the nodes that they are on."""

    placement: Any
    nodes: frozenset[str]


@dataclass(frozen=True)
class Alive:
    """Train's controller watches the workers, and all have answered it or are given their time to."""


class SlotCoordinator:
    """The body of the actor. Trainings are numbered from 0; what arrives of an earlier one than the present is dropped.

    There is one for each slot and not for each training, so that a training's start starts no process. All that it knows of a
    training's multipliers its workers have given it, from the checkpoint: when it dies, so does the slot, and nothing is lost.
    """

    def __init__(self) -> None:
        self._jobs: list[Job] = []
        self._shown: LiveMetrics | None = None
        self._ends = False
        self._changed = asyncio.Condition()
        self._dual: CoordinatorServer | None = None
        self._stopped = self._pauses = False
        self._acknowledged = 0
        self._left: dict[int, Left] = {}
        self._messages: asyncio.Queue[Any] = asyncio.Queue()

    async def give(self, job: Job) -> int:
        """The next training for all workers; its number."""
        async with self._changed:
            self._dual, self._stopped, self._pauses, self._acknowledged, self._left = None, False, False, 0, {}
            self._jobs.append(job)
            if self._shown is not None:
                self._shown.end()
            self._shown = LiveMetrics(job.output, "coordinator")
            self._changed.notify_all()
        return len(self._jobs) - 1

    async def end(self) -> None:
        """There are no more trainings: workers return."""
        async with self._changed:
            self._ends = True
            self._changed.notify_all()

    async def training(self, number: int) -> Job | None:
        """Waits for a training, and returns it; None where there are no more."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._ends or len(self._jobs) > number)
        return self._jobs[number] if len(self._jobs) > number else None

    async def begin(self, training: int, controller: DualController, state: DualState, world: int) -> None:
        """Multipliers start from `state`, and are moved by `controller`."""
        self._check(training)
        self._dual = CoordinatorServer(controller)
        await self._dual.begin(state, world)
        if self._stopped:
            self._dual.stop()
        if self._pauses:
            self._dual.pause()

    async def exchange(self, training: int, report: SlackReport, leaving: bool = False) -> tuple[DualState, bool]:
        """See `CoordinatorServer.exchange`; whether the training `pauses` as well. `leaving`: the worker's process is to end."""
        self._check(training)
        if self._dual is None:
            raise ValueError("a training must begin before its dual steps; rank 0 says where its multipliers start")
        if leaving:
            await self.pause(training)
        state = await self._dual.exchange(report)
        return state, self._dual.pauses(state)

    async def report(self, training: int, payload: Payload) -> int | None:
        """Takes a report of rank 0; returns how many of its training's points are acknowledged."""
        if training != len(self._jobs) - 1:
            return None  # nobody asks for them any more
        await self._messages.put(payload)
        if self._shown is not None:
            waiting = 0 if self._dual is None else self._dual.waiting
            self._shown.show({"coordinator_queue": waiting + self._messages.qsize()})
        return self._acknowledged

    async def acknowledge(self, training: int, points: int) -> None:
        """The first `points` of all that a training has made are kept."""
        if training == len(self._jobs) - 1:
            self._acknowledged = max(self._acknowledged, points)

    async def leave(self, rank: int, world: int, left: Left) -> None:
        """A worker is done with a training: told on when the last one is, or the first that has refused it."""
        if left.training != len(self._jobs) - 1:
            return
        self._left[rank] = left
        if left.edited:
            await self._messages.put(left)
        elif len(self._left) == world:
            most = max(each.memory for each in self._left.values())
            await self._messages.put(Left(left.training, most, paused=left.paused))

    async def stop(self, training: int) -> None:
        """Ends a training at its next dual step."""
        if training == len(self._jobs) - 1:
            self._stopped = True
            if self._dual is not None:
                self._dual.stop()

    async def pause(self, training: int) -> None:
        """Has a training save and leave after its next dual step."""
        if training == len(self._jobs) - 1:
            self._pauses = True
            if self._dual is not None:
                self._dual.pause()

    async def announce(self, handle: Any) -> None:
        """Takes what the slot can be killed by (`Processes` in bytes, `Group`), and signs of life."""
        await self._messages.put(handle)

    async def next(self, seconds: float) -> Any:
        """The next report, `Left` or what was announced; None where there is none for so long."""
        try:
            return await asyncio.wait_for(self._messages.get(), seconds)
        except TimeoutError:
            return None

    def _check(self, training: int) -> None:
        if training != len(self._jobs) - 1:
            raise ValueError(f"the slot's present training is {len(self._jobs) - 1}, but got a word of {training}")
