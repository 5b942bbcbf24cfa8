"""One sweep on three nodes: the node where it trains is killed and started again, then the next is cut off and healed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from dualsweep.cluster.testbed import namespaces, plain
from dualsweep.cluster.testbed.layout import saved
from tests.faults.disturbing import TRIALS, Sweep, parted, until
from tests.faults.parting import CUT, KILLED, cluster
from tests.faults.problem import Outcome, trained_alone

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.dear]
STEPS = 300


class Parted(NamedTuple):
    """The sweep after both, what it said, on which nodes it trained, and how many processes of its cluster were left."""

    sweep: Sweep
    outcome: Outcome
    said: str
    nodes: list[str]
    left: int


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parted]:
    isolation, why = namespaces.isolation()
    if isolation == "none":
        pytest.skip(why)
    folder = tmp_path_factory.mktemp("parting")
    sweep = Sweep(folder / "sweep", "warm", steps=STEPS, nodes=folder / "nodes")
    try:
        with cluster(folder / "nodes"):
            up = saved(folder / "nodes")
            sweep.start()
            for kind in (KILLED, CUT):
                parted(sweep, kind, 1.0, folder / "nodes")
            until(lambda: False, sweep)
        assert up is not None
        nodes = [process.partition(":")[0] for process in dict.fromkeys(sweep.steps())]
        said, left = (sweep.folder / "output.txt").read_text(), len(list(plain.marked(up.mark)))
        yield Parted(sweep, Outcome.of(sweep.folder, sweep.store), said, nodes, left)
    finally:
        sweep.end()


def test_it_goes_on_by_itself_on_other_nodes_and_nothing_is_left(swept: Parted) -> None:
    assert swept.sweep.process is not None and swept.sweep.process.returncode == 0, swept.said
    assert swept.sweep.commands == 1 and swept.left == 0
    assert len(swept.nodes) >= 3 and set(swept.nodes) == {"worker-1", "worker-2"}, "each time in another process"
    assert swept.outcome.statuses == dict.fromkeys(("0000", "0001"), "out_of_steps")


def test_nothing_is_lost_or_doubled(swept: Parted, tmp_path: Path) -> None:
    points: Counter[str] = Counter()
    for point, count in swept.outcome.points.items():
        points[point.rpartition(" ")[0]] += count
    last = {point for point in points if point.endswith(f" {STEPS}")}  # these the final evaluation reports once more
    assert {count for point, count in points.items() if point not in last} == {1} and max(points.values()) == 2
    assert sum(" multiplier/four " in point for point in points) == TRIALS * STEPS // 10
    weights, multipliers = trained_alone(swept.sweep.folder, tmp_path)
    assert weights == swept.outcome.weights
    assert multipliers == {trial: each["four"] for trial, each in swept.outcome.multipliers.items()}
