"""The coordinator of one trial: the single owner of the multipliers, in a process of its own or in the worker's.

Workers send one `SlackReport` a dual step and receive the next `DualState`. The coordinator starts empty and is given its
state by the workers (`begin`), who have it from the checkpoint: where its process dies, the trial goes back to its checkpoint
instead of going on from lost multipliers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from dualsweep.trainer.dual.state import DualState, SlackReport
from dualsweep.trainer.errors import TrainingStopped


class DualController(Protocol):
    """What is done at each dual step: dual ascent moves the multipliers (`Controller`), a `Reduction` none."""

    def first(self) -> DualState:
        """The state that a run begins with."""
        ...

    def advance(self, state: DualState, reports: Sequence[SlackReport], world: int) -> DualState:
        """The state after one dual step on the reports of all `world` workers.

        Raises:
            ValueError: a report of another step, or two of one rank.
        """
        ...

    def infeasible(self, state: DualState) -> str | None:
        """Why the run is infeasible at its budgets, naming the constraint; None while it is not."""
        ...


_EMPTY = "the coordinator must be given its state before a report; call begin first"


class Coordinator(Protocol):
    """What a worker sees. `exchange` returns at once; calling what it returned waits for the next state.

    `pauses`: the state that came last came with the word that the training is to save and to leave. All workers have it with the
    state of the same dual step.
    """

    pauses: bool

    def begin(self, state: DualState, world: int) -> None: ...

    def exchange(self, report: SlackReport) -> Callable[[], DualState]: ...


class InProcess:
    """A coordinator for one worker, without Ray: what the actor is measured against, and what tests run on."""

    pauses = False

    def __init__(self, controller: DualController) -> None:
        self._controller = controller
        self._state: DualState | None = None

    def begin(self, state: DualState, world: int) -> None:
        if world != 1:
            raise ValueError(f"an in-process coordinator serves exactly one worker, but got {world}; use the actor")
        self._state = state

    def exchange(self, report: SlackReport) -> Callable[[], DualState]:
        if self._state is None:
            raise ValueError(_EMPTY)
        state = self._state = self._controller.advance(self._state, [report], 1)
        return lambda: state


class CoordinatorServer:
    """The body of the actor: waits for the reports of all workers, then takes the step once and answers them all.

    With staleness 1 a fast worker reports the next dual step before a slow one has reported this; reports are therefore
    kept by step. A report that arrives again (a retried call) is counted once.
    """

    def __init__(self, controller: DualController) -> None:
        self._controller = controller
        self._state: DualState | None = None
        self._world = 0
        self._waiting: dict[int, _Round] = {}
        self._stopped = False
        self._last: int | None = None

    @property
    def waiting(self) -> int:
        """Reports that wait for those of other workers."""
        return sum(len(turn.reports) for turn in self._waiting.values())

    def stop(self) -> None:
        """Ends the training: from the first dual step on that has no answer yet, all workers are told so instead."""
        self._stopped = True
        for turn in self._waiting.values():
            turn.refuse()

    def pause(self) -> None:
        """The next dual step is the last one here (see `pauses`)."""
        if self._last is None and self._state is not None:
            self._last = self._state.version + 1

    def pauses(self, state: DualState) -> bool:
        """Whether the training is to save and to leave, for whoever has this state from here."""
        return self._last is not None and state.version >= self._last

    async def begin(self, state: DualState, world: int) -> None:
        """Starts (again) from `state`; reports of an earlier attempt are forgotten."""
        self._state, self._world, self._waiting = state, world, {}

    async def exchange(self, report: SlackReport) -> DualState:
        """Waits until every worker has reported this dual step, and returns the state after it.

        Raises:
            TrainingStopped: the training is to end.
            ValueError: there is no state yet, or a report of a dual step that was already taken, the last one excepted.
        """
        if self._state is None:
            raise ValueError(_EMPTY)
        if report.step == self._state.version - 1:
            return self._state
        if report.step < self._state.version:
            raise ValueError(f"a report must be of dual step {self._state.version} or later, but got {report.step}")
        turn = self._waiting.setdefault(report.step, _Round())
        turn.reports[report.rank] = report
        if self._stopped:
            turn.refuse()
            return await turn.answer
        while (ready := self._waiting.get(self._state.version)) is not None and len(ready.reports) == self._world:
            del self._waiting[self._state.version]
            self._state = self._controller.advance(self._state, list(ready.reports.values()), self._world)
            ready.answer.set_result(self._state)
        return await asyncio.shield(turn.answer)


class _Round:
    """The reports of one dual step as they come in, and the answer they all wait for."""

    def __init__(self) -> None:
        self.reports: dict[int, SlackReport] = {}
        self.answer: asyncio.Future[DualState] = asyncio.get_running_loop().create_future()

    def refuse(self) -> None:
        """Answers that the training is to end."""
        if not self.answer.done():
            self.answer.set_exception(TrainingStopped("the training was asked to end"))
