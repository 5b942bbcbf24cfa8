"""What of the spool MLflow already has: run ids and offsets, in `OUTPUT/tracking.json`, written whole after every batch."""

from __future__ import annotations

import json
import uuid
from dataclasses import asdict, dataclass, field
from pathlib import Path

from dualsweep.trainer.config.masking import masked
from dualsweep.trainer.storage import write_file

FILE = "tracking.json"
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

    `sweep_id` marks every run in MLflow (tag `dualsweep.sweep`): a run that was created just before a kill, and is not in
    this file, is found again by it.
    """

    path: Path
    uri: str
    experiment: str
    sweep_id: str
    runs: dict[str, Entry]

    @classmethod
    def open(cls, output: Path, uri: str, experiment: str) -> Ledger:
        """The ledger of an output folder; a new one where tracking goes to another place than before."""
        path, uri = output / FILE, masked(uri)
        kept = json.loads(path.read_text()) if path.exists() else {}
        if (kept.get("uri"), kept.get("experiment")) != (uri, experiment):
            return cls(path, uri, experiment, uuid.uuid4().hex, {})._saved()
        runs = {name: Entry(**entry) for name, entry in kept["runs"].items()}
        return cls(path, uri, experiment, kept["sweep_id"], runs)

    def entry(self, name: str) -> Entry:
        return self.runs.setdefault(name, Entry())

    def forget(self, name: str) -> None:
        """A run that MLflow no longer has is to be delivered anew, with those below it; with the sweep's own, all of them are."""
        if name == SWEEP:
            self.sweep_id, self.runs = uuid.uuid4().hex, {}
        else:
            self.runs = {each: entry for each, entry in self.runs.items() if each != name and not each.startswith(f"{name}-")}
        self.save()

    def save(self) -> None:
        plain = {"uri": self.uri, "experiment": self.experiment, "sweep_id": self.sweep_id}
        text = json.dumps({**plain, "runs": {name: asdict(entry) for name, entry in self.runs.items()}})
        write_file(self.path, text, durable=True)

    def _saved(self) -> Ledger:
        self.save()
        return self
