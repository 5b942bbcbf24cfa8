"""What goes on in a command's trainings, written down for whoever asks while it runs: `dualsweep status` and `dualsweep logs`.

| file | what it has |
|---|---|
| `events.jsonl` | one line for each event that matters, with its time and training: started, restarted, moved, ended |
| `live.json` | the trainings that run, as they last reported, at most a second old |

They lie in the output folder; for a Ray job also among Ray's logs on the driver's node, where its job server can read them.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dualsweep.cluster.job_files import job_stem
from dualsweep.sweeps.records.trial_record import TrialRecord
from dualsweep.trainer import metric_names
from dualsweep.trainer.storage import write_file

EVENTS, LIVE = "events.jsonl", "live.json"
#: Seconds between two writings of the live state.
INTERVAL = 1.0

Record = dict[str, Any]


def family(metrics: Mapping[str, float], prefix: str) -> dict[str, float]:
    """The metrics of one family, by constraint."""
    return {name.removeprefix(prefix): value for name, value in metrics.items() if name.startswith(prefix)}


def worst_slack(slacks: Mapping[str, float], equalities: Collection[str]) -> tuple[str, float] | None:
    """The constraint that is nearest to being violated, or furthest beyond, and the room that it has left: its slack, but of an
    equality, which either sign violates, -|slack|. None where there is no constraint.
    """
    rooms = {name: -abs(slack) if name in equalities else slack for name, slack in slacks.items()}
    return min(rooms.items(), key=lambda item: item[1], default=None)


def standing(step: int, seconds: float, metrics: Mapping[str, float], equalities: Collection[str]) -> dict[str, Any]:
    """Where a training stands, or stood at its end, as the journal has it; `equalities` are the names of those constraints."""
    return {
        "step": step,
        "seconds": seconds,
        "objective": metrics.get(metric_names.OBJECTIVE),
        "slacks": family(metrics, metric_names.SLACK),
        "multipliers": family(metrics, metric_names.MULTIPLIER),
        "equalities": sorted(equalities),
    }


class Journal:
    """Writes to each of `stems`, beginnings of paths. What the disk refuses is left out: results are elsewhere."""

    def __init__(self, stems: Sequence[str]) -> None:
        self._stems, self._written, self._over = stems, 0.0, False

    @classmethod
    def of(cls, folder: Path, logs: Path | None) -> Journal:
        """That of a command with an output folder; `logs` are Ray's on this node, None where it has none."""
        stem = job_stem()
        return cls([f"{folder}/", *([f"{logs}/{stem}"] if logs is not None and stem is not None else [])])

    def begin(self, ended: Iterable[TrialRecord]) -> None:
        """A sweep begins or goes on: files that are new get the ends from before."""
        new = [stem for stem in self._stems if not Path(stem + EVENTS).exists()]
        for record in ended if new else ():
            result = record.result
            equalities = [name for name, outcome in result.constraints.items() if outcome.kind == "equals"]
            stood = standing(result.steps, result.seconds, record.metrics, equalities) | {"steps": result.steps}
            told = {"status": result.status, "reason": result.reason, "feasible": result.feasible}
            self._write(new, {"time": None, "trial": record.id, "event": "ended", **stood, **told})

    def event(self, kind: str, trial: str, **more: Any) -> None:
        """One event of a training."""
        self._write(self._stems, {"time": time.time(), "trial": trial, "event": kind, **more})

    def live(self, running: Iterable[Mapping[str, Any]], *, over: bool = False) -> None:
        """The trainings that run now; `over` where the command ends, or goes on to others. Whatever else is written comes at most
        once an interval.
        """
        if not (over or self._over) and time.monotonic() - self._written < INTERVAL:
            return
        self._written, self._over = time.monotonic(), over
        content = json.dumps({"time": time.time(), "over": over, "running": list(running)})
        for stem in self._stems:
            with contextlib.suppress(OSError):
                write_file(Path(stem + LIVE), content)

    def _write(self, stems: Sequence[str], record: Record) -> None:
        line = json.dumps(record, default=str) + "\n"
        for stem in stems:
            with contextlib.suppress(OSError), Path(stem + EVENTS).open("a", encoding="utf-8") as stream:
                stream.write(line)
