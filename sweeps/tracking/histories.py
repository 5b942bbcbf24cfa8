"""A run's points: as they are kept beside a training, and as the histories that trajectories are drawn from."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from pathlib import Path

from dualsweep.trainer.metric_point import MetricPoint
from dualsweep.trainer.own_files import GARBAGE, read_own

History = dict[str, list[tuple[int, float]]]


def histories(points: Iterable[MetricPoint]) -> tuple[History, History]:
    """Multipliers and slacks by constraint, each a list of (step, value), from points in order, the final one among them."""
    by_kind: dict[str, History] = {"multiplier": {}, "slack": {}}
    for point in points:
        for metric, value in point.metrics.items():
            kind, _, constraint = metric.partition("/")
            if kind in by_kind and constraint:
                by_kind[kind].setdefault(constraint, []).append((point.step, value))
    return by_kind["multiplier"], by_kind["slack"]


def read_points(file: Path) -> list[MetricPoint]:
    """The points of a `metrics.jsonl`; a line that a kill left half written, or that is no point, is left out."""
    points = []
    for line in (read_own(file, bytes) or b"").splitlines():
        with contextlib.suppress(*GARBAGE):
            points.append(_point(line))
    return points


def _point(line: bytes) -> MetricPoint:
    point = MetricPoint.from_json(json.loads(line))
    if type(point.step) is not int or not all(isinstance(value, int | float) for value in point.metrics.values()):
        raise TypeError(f"a point must be numbers at a step, but got {line[:100]!r}")
    return point
