"""What a slot's actor tells whom: a training to all workers, its end when the last one is done, nothing of an earlier one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dualsweep.trainer.errors import TrainingStopped
from dualsweep.trainer.ray_shell.job import Job
from dualsweep.trainer.ray_shell.slot_actor import Left, SlotCoordinator
from tests.trainer.dual.test_controller import controller, report


def job(name: str) -> Job:
    return Job({}, name, name, "", 1, name, False)


async def messages(actor: SlotCoordinator) -> list[Any]:
    """All that was put so far."""
    received = []
    while (message := await actor.next(0.01)) is not None:
        received.append(message)
    return received


def test_every_worker_gets_every_training_and_a_late_one_waits() -> None:
    async def scenario() -> list[Any]:
        actor = SlotCoordinator()
        waiting = [asyncio.ensure_future(actor.training(0)) for _ in range(2)]
        await asyncio.sleep(0)
        assert await actor.give(job("a")) == 0
        first = await asyncio.gather(*waiting)
        late = asyncio.ensure_future(actor.training(1))
        assert await actor.give(job("b")) == 1
        end = asyncio.ensure_future(actor.training(2))
        await actor.end()
        return [*first, await late, await actor.training(1), await end]

    assert asyncio.run(scenario()) == [job("a"), job("a"), job("b"), job("b"), None]


def test_a_training_has_ended_when_the_last_worker_has_left_and_reports_of_an_earlier_one_are_dropped() -> None:
    async def scenario() -> tuple[list[Any], list[Any], list[Any]]:
        actor = SlotCoordinator()
        await actor.give(job("a"))
        await actor.report(0, {"step": 1})
        await actor.leave(1, 2, Left(0, memory=5))
        before = await messages(actor)
        await actor.leave(0, 2, Left(0, memory=3))
        after = await messages(actor)
        await actor.give(job("b"))
        await actor.report(0, {"step": 2})
        await actor.leave(0, 2, Left(0, memory=7))
        await actor.stop(0)
        return before, after, await messages(actor)

    assert asyncio.run(scenario()) == ([{"step": 1}], [Left(0, memory=5)], [])


def test_one_refusal_is_enough() -> None:
    async def scenario() -> list[Any]:
        actor = SlotCoordinator()
        await actor.give(job("a"))
        await actor.leave(1, 2, Left(0, edited=("parts",)))
        return await messages(actor)

    assert asyncio.run(scenario()) == [Left(0, edited=("parts",))]


def test_only_the_present_training_is_coordinated_and_stopped() -> None:
    async def scenario() -> None:
        actor = SlotCoordinator()
        with pytest.raises(ValueError, match="present training is -1"):
            await actor.begin(0, controller(), controller().first(), 1)
        await actor.give(job("a"))
        await actor.give(job("b"))
        await actor.begin(1, controller(), controller().first(), 1)
        with pytest.raises(ValueError, match="present training is 1, but got a word of 0"):
            await actor.exchange(0, report([[1], [1], [1]]))
        await actor.stop(0)
        state, pauses = await actor.exchange(1, report([[1], [1], [1]]))
        assert (state.version, pauses) == (1, False)
        await actor.stop(1)
        with pytest.raises(TrainingStopped):
            await actor.exchange(1, report([[1], [1], [1]], 1))

    asyncio.run(scenario())


def test_a_training_that_is_stopped_before_it_begins_ends_at_its_first_dual_step() -> None:
    async def scenario() -> None:
        actor = SlotCoordinator()
        await actor.give(job("a"))
        with pytest.raises(ValueError, match="must begin before its dual steps"):
            await actor.exchange(0, report([[1], [1], [1]]))
        await actor.stop(0)
        await actor.begin(0, controller(), controller().first(), 1)
        with pytest.raises(TrainingStopped):
            await actor.exchange(0, report([[1], [1], [1]]))
        await actor.give(job("b"))
        await actor.begin(1, controller(), controller().first(), 1)
        state, pauses = await actor.exchange(1, report([[1], [1], [1]]))
        assert (state.version, pauses) == (1, False)

    asyncio.run(scenario())


def test_a_training_leaves_with_the_next_dual_step_once_one_of_its_workers_is_told_to_end() -> None:
    """All of them alike, whoever hears of it first; the next training of the slot goes on."""

    async def scenario() -> None:
        actor = SlotCoordinator()
        await actor.give(job("a"))
        await actor.begin(0, controller(), controller().first(), 2)
        for step, leaving in enumerate([False, True]):
            both = [actor.exchange(0, report([[1], [1], [1]], step, rank), leaving and rank == 1) for rank in range(2)]
            assert [pauses for _, pauses in await asyncio.gather(*both)] == [leaving, leaving]
        await actor.leave(0, 2, Left(0, memory=1, paused=True))
        await actor.leave(1, 2, Left(0, memory=2, paused=True))
        assert await messages(actor) == [Left(0, memory=2, paused=True)]
        await actor.give(job("b"))
        await actor.pause(0)
        await actor.begin(1, controller(), controller().first(), 1)
        _, pauses = await actor.exchange(1, report([[1], [1], [1]]))
        assert not pauses, "of an earlier one"

    asyncio.run(scenario())


def test_a_training_that_is_to_leave_before_it_begins_leaves_with_its_first_dual_step() -> None:
    async def scenario() -> None:
        actor = SlotCoordinator()
        await actor.give(job("a"))
        await actor.pause(0)
        await actor.begin(0, controller(), controller().first(), 1)
        state, pauses = await actor.exchange(0, report([[1], [1], [1]]))
        assert (state.version, pauses) == (1, True)

    asyncio.run(scenario())
