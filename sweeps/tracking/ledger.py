"""What of the spool MLflow already has: run ids and offsets, in `OUTPUT/tracking.json`, written whole after every batch.

Which sweep a folder holds is in `OUTPUT/sweep.json` and on each of its runs (tag `dualsweep.sweep`), not in where MLflow is: a
folder or a store that was moved, or has another address now, is of the same sweep. So where the ledger is of another place, or
lost, its runs are found again by the tag, and what they have already is not there twice.
"""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import asdict, dataclass, field
from pathlib import Path

from dualsweep.trainer.config.masking import masked
from dualsweep.trainer.own_files import read_own
from dualsweep.trainer.storage import write_file

FILE, IDENTITY = "tracking.json", "sweep.json"
#: The parent run's name among the spools.
SWEEP = "sweep"
#: That of the sweep's amortised training.
AMORTISED = "amortised"


@dataclass
class Entry:
    """One run: its id in MLflow, the spool's bytes delivered, and artifacts (path, folder) yet to be uploaded."""

    run_id: str | None = None
    offset: int = 0
    artifacts: list[tuple[str, str | None]] = field(default_factory=list)


@dataclass
class Ledger:
    """The state of delivery to one experiment of one store.

    `sweep_id` is the sweep's identity, on every run in MLflow: a run that is not in this file is found again by it. It is empty
    where a folder with points has lost it, until MLflow is asked (`Delivery`).
    """

    path: Path
    uri: str
    experiment: str
    sweep_id: str
    runs: dict[str, Entry]

    @classmethod
    def open(cls, output: Path, uri: str, experiment: str) -> Ledger:
        """The ledger of an output folder; without runs where tracking goes to another place than before."""
        path, uri = output / FILE, masked(uri)
        kept = read_own(path, _ledger) or _Kept()
        begun = (output / "spool" / f"{SWEEP}.jsonl").exists()
        sweep_id = read_own(output / IDENTITY, _identity) or kept.sweep_id or ("" if begun else uuid.uuid4().hex)
        same = (kept.uri, kept.experiment, kept.sweep_id) == (uri, experiment, sweep_id)
        made = cls(path, uri, experiment, sweep_id, kept.runs if same else {})
        if sweep_id:
            made.identify(sweep_id)
        return made

    def identify(self, sweep_id: str) -> None:
        """From now on the folder holds the sweep of this identity."""
        self.sweep_id = sweep_id
        write_file(self.path.with_name(IDENTITY), json.dumps({"sweep": sweep_id}), durable=True)
        self.save()

    def entry(self, name: str) -> Entry:
        return self.runs.setdefault(name, Entry())

    def check_offsets(self, spool: Path) -> None:
        """A spool that ends no line where MLflow is said to have it is another one, and to be delivered whole.

        Of what MLflow has already it keeps one.
        """
        for name, entry in self.runs.items():
            path = spool / f"{name}.jsonl"
            if entry.offset and path.is_file() and not _ends_a_line(path, entry.offset):
                entry.offset = 0

    def lose(self, name: str) -> None:
        """A run that MLflow no longer has is to be delivered anew; those below it are looked up again and go below it."""
        below = [each for each in self.runs if name == SWEEP or each.startswith(f"{name}-")]
        for each in below:
            self.runs[each].run_id = None
        self.runs.pop(name, None)
        self.save()

    def save(self) -> None:
        plain = {"uri": self.uri, "experiment": self.experiment, "sweep_id": self.sweep_id}
        text = json.dumps({**plain, "runs": {name: asdict(entry) for name, entry in self.runs.items()}})
        write_file(self.path, text, durable=True)


def _ends_a_line(path: Path, offset: int) -> bool:
    with path.open("rb") as file:
        file.seek(offset - 1)
        return file.read(1) == b"\n"


@dataclass(frozen=True)
class _Kept:
    uri: str = ""
    experiment: str = ""
    sweep_id: str = ""
    runs: dict[str, Entry] = field(default_factory=dict)


def _ledger(text: bytes) -> _Kept:
    plain = json.loads(text)
    runs = {name: _entry(**each) for name, each in plain["runs"].items()}
    return _Kept(str(plain["uri"]), str(plain["experiment"]), _hex(plain["sweep_id"]), runs)


def _entry(run_id: str | None, offset: int, artifacts: list[list[str | None]]) -> Entry:
    if not isinstance(run_id, str | None) or not isinstance(offset, int) or offset < 0:
        raise ValueError(f"an entry must have a run's id and an offset, but got {run_id!r} and {offset!r}")
    return Entry(run_id, offset, [(str(path), None if folder is None else str(folder)) for path, folder in artifacts])


def _identity(text: bytes) -> str:
    return _hex(json.loads(text)["sweep"])


def _hex(identity: str) -> str:
    """An identity goes into MLflow's filters, which take no quotes."""
    if not re.fullmatch(r"[0-9a-f]{32}", identity):
        raise ValueError(f"a sweep's identity must be 32 hexadecimal digits, but got {identity!r}")
    return identity
