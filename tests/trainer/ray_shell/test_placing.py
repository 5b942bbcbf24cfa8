"""On how many workers a training starts, and when it leaves them: by what is free, its share, and nodes that are to go."""

from __future__ import annotations

from typing import Any

import pytest

from dualsweep.trainer.ray_shell.places import Places, fitting
from dualsweep.trainer.ray_shell.placing import SETTLED, UNPLACED, WORTH, Placing
from dualsweep.trainer.recipe.run import Resources

#: A training in its middle, of which two minutes are left.
RUNS = {"step": 100, "steps": 200, "seconds": 120.0, "phase": "training"}


class Cluster:
    """Nodes of so many CPUs, of which so many are free; and a clock."""

    def __init__(self, *cpus: int) -> None:
        self.time, self.cpus, self.free, self.leaving = 0.0, list(cpus), list(cpus), frozenset[str]()

    def look(self) -> Places:
        return Places(tuple({"CPU": each} for each in self.cpus), tuple({"CPU": each} for each in self.free), self.leaving)

    def placing(self, workers: Any, beside: int = 1, own: str = "") -> Placing:
        return Placing(Resources(workers=workers), beside, self.look, own, lambda: self.time)

    def later(self, seconds: float) -> None:
        self.time += seconds


@pytest.mark.parametrize(
    ("worker", "fit"),
    [({"CPU": 1}, 6), ({"CPU": 2}, 2), ({"CPU": 1, "GPU": 1}, 2), ({"CPU": 0.1, "GPU": 0.5}, 4), ({"GPU": 3}, 0)],
)
def test_a_worker_lies_on_one_node(worker: dict[str, float], fit: int) -> None:
    assert fitting([{"CPU": 3, "GPU": 2}, {"CPU": 3}, {}], worker) == fit


@pytest.mark.parametrize(
    ("workers", "beside", "started"),
    [([1, 4], 1, 4), ([1, 4], 4, 2), ([1, 4], 100, 1), ([3, 20], 1, 8), ([1, 8], 3, 2), (5, 1, 5), (50, 1, 50)],
)
def test_trainings_that_share_a_cluster_start_with_as_many_workers_each(workers: Any, beside: int, started: int) -> None:
    assert Cluster(5, 3).placing(workers, beside).workers() == started


def test_what_is_not_its_whole_share_is_taken_after_a_while_and_less_than_the_least_never() -> None:
    cluster = Cluster(4)
    placing, cluster.free = cluster.placing([2, 4]), [3]
    assert placing.workers() == 0
    cluster.later(SETTLED)
    assert placing.workers() == 3
    cluster.free = [1]
    cluster.later(100)
    assert placing.workers() == 0
    cluster.later(SETTLED)
    assert placing.workers() == 0
    cluster.free = [4]
    assert placing.workers() == 4


def test_workers_that_are_not_placed_are_chosen_anew_where_there_is_a_choice() -> None:
    cluster = Cluster(4)
    placings = [cluster.placing([1, 4]), cluster.placing(4)]
    assert [each.workers() for each in placings] == [4, 4]
    cluster.later(UNPLACED + 1)
    assert [each.unplaced(placed=False) for each in placings] == [True, False]
    assert not any(each.unplaced(placed=True) for each in placings)


def test_it_leaves_a_node_that_is_about_to_go_and_says_whether_its_own_process_stands_there() -> None:
    cluster = Cluster(4)
    placing = cluster.placing(2, own="here")
    cluster.later(10)
    assert placing.leaves(2, frozenset({"a", "b"}), RUNS) == ""
    cluster.leaving = frozenset({"b"})
    assert placing.leaves(2, frozenset({"a", "b"}), RUNS) == "", "it does not look all the time"
    cluster.later(10)
    assert "about to go" in placing.leaves(2, frozenset({"a", "b"}), RUNS) and not placing.own_leaves
    cluster.later(10)
    assert placing.leaves(2, frozenset({"a"}), RUNS) == ""
    cluster.leaving = frozenset({"here"})
    cluster.later(10)
    assert "about to go" in placing.leaves(2, frozenset({"a"}), RUNS) and placing.own_leaves


@pytest.mark.parametrize(
    ("change", "leaves"),
    [
        ({}, True), ({"phase": "sampling"}, False), ({"step": 0}, False), ({"step": 190}, False), ({"seconds": 1.0}, False),
    ],
)  # fmt: skip
def test_it_leaves_for_more_workers_where_that_is_worth_it(change: dict[str, Any], leaves: bool) -> None:
    cluster = Cluster(2)
    placing = cluster.placing([1, 3])
    assert placing.workers() == 2
    cluster.cpus, cluster.free = [2, 2], [0, 2]
    cluster.later(WORTH)
    assert placing.leaves(2, frozenset(), RUNS | change) == "", "not at the first sight of them"
    cluster.later(10)
    assert placing.leaves(2, frozenset(), RUNS | change) == ("3 workers fit" if leaves else "")


def test_it_stays_where_others_are_to_have_what_is_free_and_soon_after_its_start() -> None:
    cluster = Cluster(2, 2)
    shared = cluster.placing([1, 4], beside=4)
    assert shared.workers() == 1
    cluster.free = [1, 2]
    for _ in range(20):
        cluster.later(10)
        assert shared.leaves(1, frozenset(), RUNS) == ""
    new = cluster.placing([1, 4])
    cluster.later(SETTLED)
    new.workers()
    cluster.later(SETTLED)
    assert new.workers() == 3
    for _ in range(5):
        cluster.later(WORTH / 6)
        cluster.free = [0, 1]
        assert new.leaves(3, frozenset(), RUNS) == ""


def test_a_cluster_that_does_not_answer_changes_nothing() -> None:
    def look() -> Any:
        raise RuntimeError("GCS")

    clock = iter(range(0, 1000, 10))
    placing = Placing(Resources(workers=[1, 2]), 1, look, clock=lambda: next(clock))
    assert [placing.workers() for _ in range(3)] == [0, 0, 0] and placing.leaves(1, frozenset({"a"}), RUNS) == ""
