"""The spool: what a run has to say, on the local disk first, as JSON lines; MLflow gets it from there (`tracker.py`).

One file for each run in `OUTPUT/spool/`, of whole lines (`lines.py`).
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dualsweep.sweeps.tracking.lines import Lines, cut, read_lines
from dualsweep.trainer.metric_point import MetricPoint

FOLDER = "spool"
#: How the line of a point begins.
_POINT = b'{"kind": "point"'
Record = dict[str, Any]


class Spool:
    """Writes one run's records; one writer at a time.

    Points carry their step, and a point that is not beyond the last one spooled is left out: a trial resumed from a
    checkpoint repeats steps. A point marked `final` may stand on the last step, and replaces an earlier final one.

    Writing never fails a run: what the disk refuses is kept in memory, which `on_refused` hears of once (`Lines`), and is
    written with what comes next.
    """

    def __init__(self, path: Path, on_refused: Callable[[Path, str], None] | None = None) -> None:
        self.path, self._lines = path, Lines(path, on_refused)
        self._step, self._time, self._final = -1, 0, _Point()
        self._status: str | None = None
        path.parent.mkdir(parents=True, exist_ok=True)
        cut(path, self._open())

    @property
    def status(self) -> str | None:
        """The run's status as last spooled (RUNNING, FINISHED, FAILED, KILLED); None before the first."""
        return self._status

    def point(self, step: int, metrics: Mapping[str, float], time_ms: int | None = None, final: bool = False) -> bool:
        """Adds one point: metrics by their MLflow names at a primal step, at a Unix time in milliseconds (now if None).

        Returns whether it was taken. Times grow strictly, so the newest point of a step is the one MLflow shows.
        Metrics that are not finite are kept apart, by name (`nonfinite`).
        """
        finite = {name: float(value) for name, value in metrics.items() if math.isfinite(value)}
        odd = {name: str(float(value)) for name, value in metrics.items() if not math.isfinite(value)}
        new = _Point(step, finite, odd)
        if step < self._step or (step == self._step and not final) or (final and new == self._final):
            return False
        now = int(time.time() * 1000) if time_ms is None else time_ms
        record: Record = {"kind": "point", "step": step, "time_ms": max(now, self._time + 1), "metrics": finite}
        record |= {"nonfinite": odd} if odd else {}
        record |= {"final": True} if final else {}
        self._write(record)
        return True

    def params(self, params: Mapping[str, Any]) -> None:
        """Adds params: values are shown as text."""
        self._write({"kind": "params", "params": {name: _text(value) for name, value in params.items()}})

    def tags(self, tags: Mapping[str, str]) -> None:
        """Adds tags; a later value of a tag replaces an earlier one."""
        self._write({"kind": "tags", "tags": dict(tags)})

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Adds a file or folder, read when it is delivered; `folder` is where it goes among the run's artifacts."""
        self._write({"kind": "artifact", "path": str(path.absolute()), "folder": folder})

    def dataset(self, described: Mapping[str, Any]) -> None:
        """Adds what the run was trained on (`data.json`)."""
        self._write({"kind": "dataset", "dataset": dict(described)})

    def begin(self) -> None:
        """The run goes on: its status becomes RUNNING."""
        self._write({"kind": "status", "status": "RUNNING", "time_ms": int(time.time() * 1000)})

    def end(self, status: str) -> None:
        """The run has ended: FINISHED, FAILED or KILLED."""
        if status not in ("FINISHED", "FAILED", "KILLED"):
            raise ValueError(f"A run's status must be FINISHED, FAILED or KILLED, but got {status!r}; name one of them.")
        self._write({"kind": "status", "status": status, "time_ms": max(int(time.time() * 1000), self._time)})

    def _open(self) -> int:
        """Takes in what stands in the file, of points the last alone, as they are in order; returns its bytes in whole lines."""
        whole, last = 0, b""
        for line, end in read_lines(self.path):
            whole = end
            if line.startswith(_POINT) and b'"final"' not in line:
                last = line
            elif (record := _record(line)) is not None:
                self._remember(record)
        newest = _record(last)
        broken = read(self.path) if last and newest is None else ()  # then one before it counts
        for record in [newest, *(each for each, _ in broken if each is not None and each["kind"] == "point")]:
            if record is not None:
                self._remember(record)
        return whole

    def _remember(self, record: Record) -> None:
        if record["kind"] == "status":
            self._status = record["status"]
        if record["kind"] != "point":
            return
        self._step, self._time = max(self._step, record["step"]), max(self._time, record["time_ms"])
        if record.get("final"):
            self._final = _Point(record["step"], record["metrics"], record.get("nonfinite", {}))

    def _write(self, record: Record) -> None:
        self._remember(record)
        self._lines.add(json.dumps(record, allow_nan=False, default=str).encode() + b"\n")

    def flush(self) -> int:
        """Tries once more to write what the disk refused; returns how many records it still refuses."""
        return self._lines.flush()

    def sync(self) -> bool:
        """Whether all records are on the disk, where a loss of power doesn't reach them either."""
        return self._lines.sync()


@dataclass(frozen=True)
class _Point:
    step: int = -1
    metrics: Mapping[str, float] | None = None
    nonfinite: Mapping[str, str] | None = None


def read(path: Path, offset: int = 0) -> Iterator[tuple[Record | None, int]]:
    """Reads the whole lines from a byte offset on, one by one: each line's record, None where it is none, and where it ends."""
    return ((_record(line), end) for line, end in read_lines(path, offset))


def points_in(path: Path) -> list[MetricPoint]:
    """The points of a spool, in order."""
    records = (record for record, _ in read(path) if record is not None and record["kind"] == "point")
    return [MetricPoint.from_json({**each, "time": each["time_ms"] / 1000}) for each in records]


def tag_in(path: Path, name: str) -> str | None:
    """What a spool last set a tag to; None where it never did."""
    found = [each["tags"][name] for each, _ in read(path) if each is not None and name in each.get("tags", {})]
    return found[-1] if found else None


def _record(line: bytes) -> Record | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):  # half a line that a full disk cut off, or no line of ours
        return None
    return record if isinstance(record, dict) and _is_record(record) else None


#: What a record of each kind holds beside `kind`.
_FIELDS: dict[str, dict[str, type]] = {
    "point": {"step": int, "time_ms": int, "metrics": dict}, "params": {"params": dict}, "tags": {"tags": dict},
    "status": {"status": str, "time_ms": int}, "artifact": {"path": str},
    "dataset": {"dataset": dict},
}  # fmt: skip


def _is_record(record: Record) -> bool:
    fields = _FIELDS.get(record["kind"]) if isinstance(record.get("kind"), str) else None
    return fields is not None and all(isinstance(record.get(name), kind) for name, kind in fields.items())


def _text(value: Any) -> str:
    """`true`, `null`, lists and sections as in YAML; the rest as Python writes it."""
    return json.dumps(value, default=str) if value is None or isinstance(value, bool | list | tuple | dict) else str(value)
