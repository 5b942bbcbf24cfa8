"""How many trainings run side by side while a cluster grows, shrinks, and does not answer."""

from __future__ import annotations

from dualsweep.cluster.errors import ClusterError
from dualsweep.cluster.resources import Plan
from dualsweep.sweeps.trials.side_by_side import INTERVAL, SideBySide


def test_it_follows_the_cluster_and_tells_of_each_change() -> None:
    measured: list[Plan | Exception] = [
        Plan(4, "cpu", "four"), Plan(4, "cpu", "four"), RuntimeError("GCS"), Plan(90, "cpu", "ninety"),
        ClusterError("all must fit", "room for 0", "wait"), Plan(2, "cpu", "two"),
    ]  # fmt: skip
    told, now = list[tuple[int, str]](), [0.0]

    def measure() -> Plan:
        plan = measured.pop(0)
        if isinstance(plan, Exception):
            raise plan
        return plan

    beside = SideBySide(Plan(2, "cpu", ""), measure, 10, lambda *word: told.append(word), lambda: now[0])
    counts = [beside.now()]
    for _ in range(6):
        now[0] += INTERVAL
        counts += [beside.now(), beside.now()]
    assert counts == [2, 4, 4, 4, 4, 4, 4, 10, 10, 1, 1, 2, 2] and not measured, "measured once an interval"
    assert told == [(4, "four"), (10, "ninety"), (1, "all must fit, but there is room for 0"), (2, "two")]
