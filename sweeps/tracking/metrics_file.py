"""The points of one training as they are kept beside it, in `metrics.jsonl`: each step once, whatever was killed on the way."""

from __future__ import annotations

import json
import time
from pathlib import Path

from dualsweep.sweeps.tracking.lines import Lines, cut, read_lines
from dualsweep.trainer.metric_point import MetricPoint, Payload
from dualsweep.trainer.own_files import GARBAGE
from dualsweep.trainer.result import Result

NAME = "metrics.jsonl"


class MetricsFile:
    """Adds reported points to the file; one writer at a time."""

    def __init__(self, folder: Path) -> None:
        path, whole = folder / NAME, 0
        self._step, self._final = -1, False
        for line, end in read_lines(path):
            whole = end
            self._remember(_point(line))
        cut(path, whole)
        self._lines = Lines(path)

    def take(self, payload: Payload) -> bool:
        """Adds a report's points; whether all are on the disk. Writing never fails a training: see `Lines`."""
        for point in map(MetricPoint.from_json, payload["points"]):
            self._add(point)
        return self._lines.sync()

    def end(self, result: Result) -> bool:
        """Adds the final point of a training that has ended, where a kill came before its report; whether all is on the disk."""
        if result.metrics:
            self._add(MetricPoint(result.steps, result.metrics, final=True, time=time.time()))
        return self._lines.sync()

    def _add(self, point: MetricPoint) -> None:
        # A resumed run repeats the steps after its checkpoint, with the same values; the final point has the last step.
        if point.step > self._step or (point.step == self._step and point.final and not self._final):
            self._remember(point)
            self._lines.add(json.dumps(point.to_json()).encode() + b"\n")

    def _remember(self, point: MetricPoint | None) -> None:
        if point is not None:
            self._step, self._final = max(self._step, point.step), self._final or point.final


def read_points(folder: Path) -> list[MetricPoint]:
    """The points of a training's folder, in order."""
    return [point for line, _ in read_lines(folder / NAME) if (point := _point(line)) is not None]


def _point(line: bytes) -> MetricPoint | None:
    try:
        point = MetricPoint.from_json(json.loads(line))
    except GARBAGE:  # half a line that a full disk cut off, by an earlier version
        return None
    numbers = type(point.step) is int and all(isinstance(value, int | float) for value in point.metrics.values())
    return point if numbers else None
