"""A run's points: as they are kept beside a training, and as the histories that trajectories are drawn from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

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


def read_points(file: Path) -> list[dict[str, Any]]:
    """The points of a `metrics.jsonl`; a line that a kill left half written is left out."""
    points = []
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else []:
        try:
            points.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return points
