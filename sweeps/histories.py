"""A run's points as the histories that trajectories are drawn from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

History = dict[str, list[tuple[int, float]]]


def histories(points: Iterable[tuple[int, Mapping[str, float]]]) -> tuple[History, History]:
    """Multipliers and slacks by constraint, each a list of (step, value), from (step, metrics) in order."""
    found: dict[str, History] = {"multiplier": {}, "slack": {}}
    for step, metrics in points:
        for metric, value in metrics.items():
            kind, _, constraint = metric.partition("/")
            if kind in found and constraint:
                found[kind].setdefault(constraint, []).append((step, value))
    return found["multiplier"], found["slack"]
