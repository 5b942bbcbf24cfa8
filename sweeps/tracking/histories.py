"""A run's points: as they are kept beside a training, and as the histories that trajectories are drawn from."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from dualsweep.trainer.metric_point import MetricPoint

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
    """The points of a `metrics.jsonl`; a line that a kill left half written is left out."""
    points = []
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else []:
        try:
            points.append(MetricPoint.from_json(json.loads(line)))
        except json.JSONDecodeError:
            continue
    return points
