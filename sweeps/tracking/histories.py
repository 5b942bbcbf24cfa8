"""The histories that trajectories are drawn from, of a run's points."""

from __future__ import annotations

from collections.abc import Iterable

from dualsweep.trainer.metric_point import MetricPoint

History = dict[str, list[tuple[int, float]]]


def histories(points: Iterable[MetricPoint]) -> tuple[History, History]:
    """Multipliers and slacks by constraint, each a list of (step, value), from points in order.

    Without the final evaluation's, which is of other weights, and would end each trajectory in a vertical tick; unless there is
    no other.
    """
    by_kind: dict[str, History] = {"multiplier": {}, "slack": {}}
    every = list(points)
    for point in [each for each in every if not each.final] or every:
        for metric, value in point.metrics.items():
            kind, _, constraint = metric.partition("/")
            if kind in by_kind and constraint:
                by_kind[kind].setdefault(constraint, []).append((point.step, value))
    return by_kind["multiplier"], by_kind["slack"]
