"""The coordinator's waiting: one step for all, whatever the order; an empty one refuses, and a stopped one tells all alike."""

import asyncio

import numpy as np
import pytest

from dualsweep.trainer.dual.coordinator import CoordinatorServer, InProcess
from dualsweep.trainer.dual.state import DualState
from dualsweep.trainer.errors import TrainingStopped
from tests.trainer.dual.test_controller import controller, report


def values(rng):
    return [rng.random(3), rng.random(2), rng.random(2)]


def test_all_workers_get_the_same_state_even_when_one_runs_ahead():
    async def scenario():
        server, rng = CoordinatorServer(controller()), np.random.default_rng(0)
        await server.begin(controller().first(), 3)
        sent = [[values(rng) for _ in range(3)] for _ in range(4)]

        async def worker(rank, delay):
            states: list[DualState] = []
            ahead: asyncio.Future[DualState] | None = None
            for step in range(4):
                await asyncio.sleep(delay)
                answer = asyncio.ensure_future(server.exchange(report(sent[step][rank], step, rank)))
                await asyncio.sleep(0)
                if ahead is not None:  # as with staleness 1: the last answer is taken after the next report was sent
                    states.append(await ahead)
                ahead = answer
            assert ahead is not None
            return [*states, await ahead]

        by_rank = await asyncio.gather(worker(0, 0.0), worker(1, 0.003), worker(2, 0.001))
        return sent, by_rank

    sent, by_rank = asyncio.run(scenario())
    expected = controller().first()
    for step in range(4):
        expected = controller().advance(expected, [report(sent[step][rank], step, rank) for rank in range(3)], 3)
        for states in by_rank:
            assert states[step].version == step + 1
            assert states[step].multipliers.tobytes() == expected.multipliers.tobytes()


def test_a_repeated_report_is_counted_once():
    async def scenario():
        server, rng = CoordinatorServer(controller()), np.random.default_rng(0)
        await server.begin(controller().first(), 1)
        one = report(values(rng))
        first = await server.exchange(one)
        return first, await server.exchange(one)

    first, again = asyncio.run(scenario())
    assert first is again


def test_an_empty_coordinator_refuses():
    with pytest.raises(ValueError, match="call begin first"):
        asyncio.run(CoordinatorServer(controller()).exchange(report([[1], [1], [1]])))
    with pytest.raises(ValueError, match="call begin first"):
        InProcess(controller()).exchange(report([[1], [1], [1]]))


def test_in_process_serves_one_worker_only():
    with pytest.raises(ValueError, match="exactly one worker, but got 2"):
        InProcess(controller()).begin(controller().first(), 2)


@pytest.mark.parametrize("stopped_after", range(7), ids=lambda number: f"after {number} reports")
def test_all_workers_are_stopped_at_the_same_dual_step(stopped_after: int) -> None:
    """Whenever that is asked for, also between two reports of one dual step: no worker takes a step that another doesn't."""

    async def scenario() -> list[int]:
        server, rng = CoordinatorServer(controller()), np.random.default_rng(0)
        await server.begin(controller().first(), 2)
        sent = 0

        async def worker(rank: int, taken: list[int]) -> None:
            nonlocal sent
            for step in range(4):
                if sent == stopped_after:
                    server.stop()
                sent += 1
                await server.exchange(report(values(rng), step, rank))
                taken[rank] += 1

        taken = [0, 0]
        ends = await asyncio.gather(worker(0, taken), worker(1, taken), return_exceptions=True)
        assert all(isinstance(end, TrainingStopped) for end in ends), ends
        return taken

    taken = asyncio.run(scenario())
    assert taken == [stopped_after // 2] * 2


def test_workers_that_have_the_same_state_are_told_alike_whether_to_leave():
    """Also where one has its answer before the word to leave comes, and another one asks after it."""

    async def scenario():
        server, rng = CoordinatorServer(controller()), np.random.default_rng(0)
        await server.begin(controller().first(), 2)
        sent = [[report(values(rng), step, rank) for rank in range(2)] for step in range(2)]
        first = await asyncio.gather(*map(server.exchange, sent[0]))
        before = server.pauses(first[0])
        server.pause()
        after = server.pauses(first[1])
        second = await asyncio.gather(*map(server.exchange, sent[1]))
        return before, after, [server.pauses(state) for state in second]

    assert asyncio.run(scenario()) == (False, False, [True, True])
