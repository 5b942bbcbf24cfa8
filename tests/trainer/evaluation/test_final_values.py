"""The staged final evaluation: two workers draw and decide as one does, by the documented rule, and a repeat to the bit."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier
from typing import NamedTuple

import numpy as np
import pytest

from dualsweep.trainer.checkpoint import CheckpointFolder
from dualsweep.trainer.dual.coordinator import InProcess
from dualsweep.trainer.dual.problem import ConstrainedProblem
from dualsweep.trainer.engine.assembly import Prepared, prepare
from dualsweep.trainer.engine.dual_side import controller_of
from dualsweep.trainer.engine.host import LocalHost
from dualsweep.trainer.evaluation.final_values import Final, final_values
from dualsweep.trainer.feasibility.deciding import Deciding
from dualsweep.trainer.feasibility.standing import Standing
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.sources.mixture import MixtureSource
from tests.trainer.recipes import digits

ENDS = (64, 128, 256)


class Exchange:
    """What workers in threads of one process hand each other, all waiting for all."""

    def __init__(self, world: int) -> None:
        self.world = world
        self._barrier, self._held = Barrier(world, timeout=60), [None] * world

    def all_of(self, rank: int, own: object) -> list[object]:
        self._held[rank] = own  # type: ignore[call-overload]  # of any type
        self._barrier.wait()
        held: list[object] = list(self._held)
        self._barrier.wait()
        return held


class Threaded(LocalHost):
    """One of several workers, each in a thread."""

    def __init__(self, like: LocalHost, rank: int, exchange: Exchange) -> None:
        super().__init__(like.coordinator, like.checkpoints, rank=rank, world=exchange.world)
        self.exchange = exchange

    def gather(self, own):
        held = self.exchange.all_of(self.rank, own)
        return held if self.rank == 0 else None

    def agree(self, number):
        return self.exchange.all_of(self.rank, number)[0]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    recipe: Recipe = digits(evaluation={"batch_size": 32, "loss_draws": ENDS[0]}, data={"holdout": 0.2})
    return prepare(recipe, LocalHost(InProcess(controller_of(recipe)), CheckpointFolder(str(tmp_path_factory.mktemp("final")))))


def final_of(prepared: Prepared, world: int, deciding: Deciding) -> list[Final | None]:
    """Of each worker; the model predicts the noise to be the noised sample."""
    (source,) = prepared.sources
    assert isinstance(source, MixtureSource)
    exchange = Exchange(world)

    def worker(rank: int) -> Final | None:
        own = copy.copy(source)
        host = Threaded(source.setting.host, rank, exchange)  # type: ignore[arg-type]  # the fixture's is local
        own.setting, own.forward = replace(source.setting, host=host), lambda x, t, **_: x
        return final_values([own], np.ones(3), host, deciding)

    with ThreadPoolExecutor(world) as threads:
        return list(threads.map(worker, range(world)))


@pytest.fixture(scope="module")
def four(prepared: Prepared) -> tuple[float, float]:
    """The value of a constraint after the first stage, and its standard error."""
    once = final_of(prepared, 1, budgeted(0.0, (ENDS[0],)))[0]
    assert once is not None
    found = once.trained.estimate()
    return float(found.mean[1]), float(found.variance[1] ** 0.5)


def budgeted(budget: float, ends: tuple[int, ...] = ENDS) -> Deciding:
    problem = ConstrainedProblem(("four", "five"), np.array([budget, 100.0]), np.zeros(2, dtype=np.bool_))
    return Deciding(problem, np.zeros(2), ends, two=True)


class Runs(NamedTuple):
    """One final evaluation by one worker, by two, and by two again; what is known of it beforehand, None where nothing is."""

    deciding: Deciding
    one: Final
    two: Final
    again: Final
    standing: Standing | None
    looks: int | None


@pytest.fixture(
    scope="module",
    params=[(30.0, "met", 1), (-30.0, "violated", 1), (0.0, None, None)],
    ids=["far above", "far below", "at the value"],
)
def runs(request: pytest.FixtureRequest, prepared: Prepared, four: tuple[float, float]) -> Runs:
    """With a budget that is some standard errors of the first look away from the value."""
    away, standing, looks = request.param
    deciding = budgeted(four[0] + away * four[1])
    (one,), (two, silent), (again, _) = (final_of(prepared, world, deciding) for world in (1, 2, 2))
    assert one is not None and two is not None and again is not None and silent is None
    return Runs(deciding, one, two, again, standing, looks)


def test_it_is_decided_by_the_documented_rule(runs: Runs) -> None:
    """Far off it stops at the first look; at the value it goes on until the rule says so, by the draws of all looks before."""
    deciding, one, two, _, standing, looks = runs
    assert two.decision.standings == one.decision.standings and standing in (None, one.decision.standings[0])
    assert two.trained.counts.tolist() == one.trained.counts.tolist()
    stages = two.trained.sets[0].stages
    assert stages == tuple(np.diff(ENDS, prepend=0)[: len(stages)]) and looks in (None, len(stages))
    decision = deciding.first()
    for number in range(len(stages)):  # the rule, look by look, on the draws that it had then
        assert not decision.final
        sets = tuple(replace(each, values=each.values[: ENDS[number]], stages=stages[: number + 1]) for each in two.trained.sets)
        decision = deciding.look(decision, number, replace(two.trained, sets=sets), two.held_out)
    assert decision.standings == two.decision.standings and (decision.final or len(stages) == len(ENDS))


def test_two_workers_draw_as_one_and_a_repeat_to_the_bit(runs: Runs) -> None:
    _, one, two, again, *_ = runs
    for mine, other in zip(two.trained.sets + two.held_out.sets, again.trained.sets + again.held_out.sets, strict=True):
        assert mine.values.tobytes() == other.values.tobytes()
    assert again.decision == two.decision
    for mine, other in zip(two.trained.sets, one.trained.sets, strict=True):
        np.testing.assert_allclose(mine.values, other.values, rtol=1e-5)
