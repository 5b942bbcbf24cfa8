"""Every training of a run while it goes on: read back from the run's journal (`sweeps/journal.py`), and shown."""

from __future__ import annotations

import glob
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from dualsweep.cluster.errors import ClusterError
from dualsweep.cluster.job_files import job_stem, read_log
from dualsweep.cluster.jobs import Job
from dualsweep.sweeps.journal import EVENTS, LIVE, Record, worst_slack
from dualsweep.sweeps.records.run_of_file import is_yaml_file
from dualsweep.sweeps.trial_state import clock, place
from dualsweep.trainer.config.diagnostics import Diagnostic, InputError
from dualsweep.trainer.config.uris import local_path
from dualsweep.trainer.ray_shell.job import TRAINING

#: Seconds without a word of the command from which on its trainings count as lost: it writes every few seconds.
SILENT = 60.0


#: What a row of `status` has at least; what nobody has reported yet is null, or none.
_UNTOLD: Record = {
    "phase": None, "share": 0.0, "step": 0, "steps": None, "seconds": None, "objective": None, "slacks": {}, "multipliers": {},
    "equalities": [], "feasible": "", "reason": "", "restarts": 0, "workers": None, "node": "",
}  # fmt: skip
#: What each kind of event holds beside its trial and its time.
_EVENTS = {
    "started": (), "placed": ("node", "log", "step"), "phase": ("phase", "step"), "restarted": ("node", "log", "step"),
    "moved": ("node", "log", "step", "workers", "moved"), "ended": ("status", "feasible", "reason"),
}  # fmt: skip
#: Numbers beyond it are of no run: seconds of Unix time of the year 5138, or as many steps.
_MOST = 1e11


def _is(kind: type) -> Callable[[object], bool]:
    return lambda value: isinstance(value, kind)


def _amount(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _MOST


def _figure(value: object) -> bool:
    """Any float, of a training that diverged NaN or infinite too; a whole number as far as floats go."""
    return isinstance(value, float) or (isinstance(value, int) and not isinstance(value, bool) and abs(value) < _MOST)


def _figures(value: object) -> bool:
    return isinstance(value, dict) and all(map(_figure, value.values()))


def _names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


#: What the values of these keys are, where they are there.
_FIELDS: dict[str, Callable[[object], bool]] = {
    **dict.fromkeys(("trial", "event", "phase", "node", "log", "moved", "status", "feasible", "reason"), _is(str)),
    **dict.fromkeys(("time", "share", "step", "steps", "seconds", "restarts", "workers"), _amount),
    **dict.fromkeys(("slacks", "multipliers"), _figures), "equalities": _names, "objective": _figure, "params": _is(dict),
}  # fmt: skip
#: Those that may be null too, as nobody has told them yet.
_UNTOLD_YET = frozenset({"phase", "node", "time", "steps", "seconds", "workers", "objective"})


@dataclass(frozen=True)
class Story:
    """What a journal says: its events in order, the trainings that run, when that was written, whether the command is over."""

    events: list[Record]
    running: list[Record]
    time: float
    over: bool

    @classmethod
    def of(cls, read: Callable[[str], str | None]) -> Story | None:
        """By what reads the journal's files by name; None where there are none."""
        events, live = read(EVENTS), read(LIVE)
        if events is None and live is None:
            return None
        state = _parsed(live or "") or {}
        if not (isinstance(state.get("running"), list) and _amount(state.get("time")) and isinstance(state.get("over"), bool)):
            state = {"running": [], "time": 0.0, "over": True}
        running = [each for each in state["running"] if isinstance(each, dict) and _is_record(each)]
        lines = [each for line in (events or "").splitlines() if (each := _parsed(line)) is not None and _is_event(each)]
        return cls(lines, running, state["time"], state["over"])

    def trainings(self, now: float) -> list[Record]:
        """A row for each training, by name: `state` is how it ended, else starting, running, silent (`SILENT`) or interrupted."""
        rows: dict[str, Record] = {}
        live = {each["trial"]: each for each in self.running}
        for event in self.events:
            rows[event["trial"]] = _UNTOLD | rows.get(event["trial"], {}) | event
        for name, row in rows.items():
            row.pop("time", None)
            if row.pop("event") == "ended":
                row["state"] = row.pop("status")
                continue
            row.update(live.get(name, {}))
            row.update(reason="", feasible="", state=self._unended(row["phase"] or "starting", now))
        return [rows[name] for name in sorted(rows)]

    def _unended(self, phase: str, now: float) -> str:
        if self.over:
            return "interrupted"
        if now - self.time >= SILENT:
            return "silent"
        return "starting" if phase == "starting" else "running"


def _parsed(line: str) -> Record | None:
    """The record of a line; None of one that is only half there, or is none."""
    try:
        parsed = json.loads(line)
        json.dumps(parsed, ensure_ascii=False).encode()  # halves of surrogate pairs, which cannot be printed
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) else None


def _is_record(record: Record) -> bool:
    """Whether a record is of a training, as `Journal` writes it: a folder may be damaged, or a stranger's."""
    there = [(key, record[key], is_one) for key, is_one in _FIELDS.items() if key in record]
    return "trial" in record and all(is_one(value) or (value is None and key in _UNTOLD_YET) for key, value, is_one in there)


def _is_event(record: Record) -> bool:
    """Whether a record is an event."""
    needed = _EVENTS.get(str(record.get("event")))
    return _is_record(record) and needed is not None and all(key in record for key in needed)


def of_job(job: Job) -> Story | None:
    """The journal of a submitted job; None of one that has none yet, or none any more, as its node is gone."""
    stem = job_stem(job.submission_id)
    return None if not job.node else Story.of(lambda name: read_log(job.address, f"{stem}{name}", node_id=job.node))


def of_folder(folder: Path) -> Story:
    """The journal of an output folder.

    Raises:
        InputError: it has none.
    """

    def read(name: str) -> str | None:
        file = folder / name
        return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else None

    story = Story.of(read)
    if story is None:
        rule, remedy = "must be the output folder of a run, or a job's id", "`dualsweep status` lists the jobs"
        raise InputError([Diagnostic(("WHERE",), rule, str(folder), remedy, "command line", 1)])
    return story


def is_folder(where: str) -> bool:
    """Whether an output folder is meant, and not a job's id."""
    return "/" in where or is_yaml_file(where) or local_path(where).is_dir()


def show(rows: list[Record], console: Console) -> None:
    """Prints the trainings as a table."""
    table = Table(expand=False)
    for column in (
        "trial",
        "state",
        "step",
        "objective",
        "worst slack",
        "λ",
        "verdict",
        "restarts",
        "workers",
        "node",
        "seconds",
    ):
        table.add_column(column, justify="left" if column in ("state", "verdict", "node") else "right", overflow="fold")
    for row in rows:
        table.add_row(*_cells(row))
    console.print(table)


def _cells(row: Record) -> tuple[str, ...]:
    slacks, multipliers, objective = row.get("slacks") or {}, row.get("multipliers") or {}, row.get("objective")
    worst = worst_slack(slacks, row.get("equalities") or ())
    return (
        row["trial"],
        _state(row),
        f"{row['step']}/{row['steps']}" if row.get("steps") else "",
        "" if objective is None else f"{objective:.4g}",
        "" if worst is None else f"{worst[1]:+.3g} ({worst[0]})",
        " ".join(f"{value:.3g}" for value in multipliers.values()),
        row.get("feasible") or "",
        str(row.get("restarts") or ""),
        str(row.get("workers") or ""),
        row.get("node") or "",
        clock(row["seconds"]) if row.get("seconds") else "",
    )


def _state(row: Record) -> str:
    """Of what runs its phase, else its state."""
    if row["state"] == "running" and row["phase"] != "training":
        return place(row["phase"], row["share"], 0, 0)
    return str(row["state"]).replace("_", " ")


def logs(story: Story, trial: str, read: Callable[[str, str], str | None]) -> Iterator[str]:
    """The log of a training: its events, then what its workers printed, by what reads a file of Ray's logs on a node.

    Raises:
        ClusterError: there is no such training.
    """
    events = [event for event in story.events if event["trial"] == trial]
    if not events:
        names = ", ".join(dict.fromkeys(event["trial"] for event in story.events)) or "none"
        raise ClusterError("the trial must be one of the run's", trial, f"there are {names}")
    places: list[tuple[str, str]] = []
    for event in events:
        yield _line(event)
        if event["event"] in ("placed", "restarted", "moved"):
            places.append((event["node"], event["log"]))
    alone = len({event["trial"] for event in story.events}) == 1
    for node, file in dict.fromkeys(places):
        yield f"--- {file} on {node}"
        text = read(node, file)
        yield "it is not there, or out of reach from here" if text is None else text.rstrip() if alone else _own_part(text, trial)


def log_of_this_machine(_node: str, file: str) -> str | None:
    """A file of Ray's logs, of whichever session of this machine has it, as names are unique; None of one on another node."""
    if not isinstance(file, str) or "/" in file or file in ("", ".", ".."):  # a stranger's folder could name any file
        return None
    root = Path(os.environ.get("RAY_TMPDIR", "/tmp")) / "ray"
    found = next(root.glob(f"session_*/logs/{glob.escape(file)}"), None)
    return None if found is None else found.read_text(encoding="utf-8", errors="replace")


def _line(event: Record) -> str:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event["time"])) if event.get("time") else "before"
    said = {
        "started": lambda: ", ".join(f"{name}={value}" for name, value in event.get("params", {}).items()),
        "placed": lambda: f"on {event['node']} at step {event['step']}",
        "phase": lambda: f"{event['phase']}, step {event['step']}",
        "restarted": lambda: f"on {event['node']} at step {event['step']}, as its processes before were lost",
        "moved": lambda: f"to {event['workers']} worker(s) on {event['node']} at step {event['step']}: {event['moved']}",
        "ended": lambda: f"{event['status']}, {event['feasible'] or 'no verdict'}: {event['reason']}",
    }[event["event"]]()
    return f"{when}  {event['event']}  {said}".rstrip()


def _own_part(text: str, trial: str) -> str:
    """Of the log of processes that take one training after another, the part of one."""
    kept, own = [], False
    for line in text.splitlines():
        if line.startswith(TRAINING):
            own = line.rstrip("/").endswith(f"/{trial.replace('-seed-', '/seed-')}")
        if own:
            kept.append(line)
    return "\n".join(kept)
