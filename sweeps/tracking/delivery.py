"""From the spool to MLflow: synchronous batches by one writer, each noted in the ledger once MLflow has it.

A batch that is sent twice (a kill between sending and noting) changes nothing: MLflow's stores keep one point for each
metric, time, step and value, and runs are found again by a tag. The client takes its tracking URI explicitly, and no run
is ever "active", so nothing global is touched.

Values that are not finite are not sent: a NaN has hidden whole run pages of MLflow, and an infinity comes back as 1.8e308.
The metric `nonfinite` counts them at their step, and the tag `dualsweep.nonfinite` names the last ones.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from dualsweep.analysis.bounds import bounds_tag
from dualsweep.sweeps.tracking.artifacts import TRAJECTORIES, draw_trajectories
from dualsweep.sweeps.tracking.experiment import client_of, experiment_of, identity_at, is_there, runs_of
from dualsweep.sweeps.tracking.leaving import send_artifact
from dualsweep.sweeps.tracking.ledger import AMORTISED, SWEEP, Entry, Ledger
from dualsweep.sweeps.tracking.mlflow_settings import prepare
from dualsweep.sweeps.tracking.spool import Record, points_in, read
from dualsweep.sweeps.tracking.wire import (
    METRICS,
    KnownParams,
    dataset_input,
    is_refusal,
    log_values,
    nonfinite_tag,
    points_of,
    send_params,
    taken_name,
)
from dualsweep.trainer.config.wording import first_line
from dualsweep.trainer.own_files import set_aside
from dualsweep.trainer.storage import lies_below, moved

if TYPE_CHECKING:
    from mlflow import MlflowClient

#: Requests' worth of metrics that are read and noted at a time: all but the last request of these are full.
_REQUESTS = 10


class _GoneError(Exception):
    """A run is no longer in MLflow."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class Delivery:
    """Sends spooled records. Whatever MLflow raises comes out, except for records it will never take (`on_refused`)."""

    def __init__(
        self, uri: str, ledger: Ledger, spool: Path, on_refused: Callable[[str], None], on_sent: Callable[[], None] = lambda: None
    ) -> None:  # fmt: skip
        self._uri, self.ledger, self._spool, self._on_refused, self._on_sent = uri, ledger, spool, on_refused, on_sent
        self._unnoted = False
        self._client: MlflowClient | None = None
        self._experiment = ""
        self._params: dict[str, KnownParams] = {}
        for path in spool.glob("*.jsonl"):
            if not path.is_file():
                set_aside(str(spool), path.name, "a folder" if path.is_dir() else "no file")
        ledger.check_offsets(spool)

    def names(self) -> list[str]:
        """The runs with a spool, the sweep's own first: its trials' runs name it."""
        return sorted((path.stem for path in self._spool.glob("*.jsonl")), key=lambda name: (name != SWEEP, name))

    def waiting(self) -> int:
        """Records and artifacts that MLflow does not have yet."""
        return sum(1 for name in self.names() for _ in self._undelivered(name))

    def has_all(self) -> bool:
        """Whether MLflow has all that was spooled: at once, where counting reads all of it."""
        return not any(True for name in self.names() for _ in self._undelivered(name))

    def _undelivered(self, name: str) -> Iterator[object]:
        entry = self.ledger.runs.get(name, Entry())  # not `entry`, which adds one under the writer's feet
        yield from entry.artifacts
        yield from (record for record, _ in read(self._path(name), entry.offset) if record is not None)

    def deliver(self) -> None:
        """Sends all that waits. A run that was deleted in MLflow is begun anew when there is more to say of it."""
        try:
            self._deliver()
        except _GoneError as gone:
            self._client = None  # so that the other runs are looked up too
            self.ledger.lose(gone.name)
            self.deliver()

    def _deliver(self) -> None:
        if not any(map(self._waits, self.names())):
            return
        client = self.connect()
        names = [name for name in self.names() if self._waits(name)]  # with those of runs that were found to be lost
        for name in [SWEEP, *(name for name in names if name != SWEEP)]:
            entry = self._run(client, name)
            while batch := self._batch(name, entry):
                self._send(client, name, entry, batch)
        for name in names:
            self._upload(client, name, self.ledger.entry(name))

    def _waits(self, name: str) -> bool:
        entry = self.ledger.entry(name)
        return entry.run_id is None or bool(entry.artifacts) or self._path(name).stat().st_size > entry.offset

    def _path(self, name: str) -> Path:
        return self._spool / f"{name}.jsonl"

    def connect(self) -> MlflowClient:
        """The client, its experiment there, and the ledger true: runs that MLflow has lost are begun anew."""
        if self._client is not None:
            return self._client
        prepare()
        client = client_of(self._uri)  # MLflow takes seconds to import: in the writer's thread, when there is something to send
        self._experiment = experiment_of(client, self._uri, self.ledger.experiment)
        if not self.ledger.sweep_id:
            self.ledger.identify(identity_at(client, self._experiment, self._started(SWEEP)) or uuid.uuid4().hex)
        there = runs_of(client, self._experiment, self.ledger.sweep_id)
        for name, entry in list(self.ledger.runs.items()):
            if entry.run_id is not None and entry.run_id not in there:
                self.ledger.lose(name)
        self._client = client
        return client

    def _run(self, client: MlflowClient, name: str) -> Entry:
        """The ledger's entry with its run, which is created, or found where a kill came before it was noted."""
        entry = self.ledger.entry(name)
        if entry.run_id is None:
            tags = self._marks(client, name)
            wanted = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items() if key != "mlflow.parentRunId")
            existing = client.search_runs([self._experiment], wanted, max_results=1)
            if existing:
                entry.run_id = existing[0].info.run_id
                above = tags.get("mlflow.parentRunId")
                if above is not None and existing[0].data.tags.get("mlflow.parentRunId") != above:  # which was made anew
                    client.set_tag(entry.run_id, "mlflow.parentRunId", above)
            else:
                run = client.create_run(self._experiment, self._started(name), tags, _run_name(self.ledger, name))
                self.ledger.runs[name] = entry = Entry(run.info.run_id)
            self._note()
        return entry

    def _marks(self, client: MlflowClient, name: str) -> dict[str, str]:
        """What a new run is known by: the sweep's, a trial's, or that of one of a trial's trainings (`0007-seed-1`)."""
        if name == SWEEP:
            return {"dualsweep.kind": "sweep", "dualsweep.sweep": self.ledger.sweep_id}
        if name == AMORTISED:
            parent = {"mlflow.parentRunId": self.ledger.entry(SWEEP).run_id or ""}
            return {"dualsweep.kind": AMORTISED, "dualsweep.sweep": self.ledger.sweep_id, **parent}
        trial, _, seed = name.partition("-seed-")
        tags = {"dualsweep.sweep": self.ledger.sweep_id, "dualsweep.trial": trial}
        if not seed:
            return {"dualsweep.kind": "trial", **tags, "mlflow.parentRunId": self.ledger.entry(SWEEP).run_id or ""}
        above = self._run(client, trial).run_id or ""
        return {"dualsweep.kind": "replicate", **tags, "dualsweep.seed": seed, "mlflow.parentRunId": above}

    def _started(self, name: str) -> int | None:
        first = (record for record, _ in islice(read(self._path(name)), 10) if record is not None)
        return next((record["time_ms"] for record in first if "time_ms" in record), None)

    def _batch(self, name: str, entry: Entry) -> list[tuple[Record, int]]:
        """The next records, some requests of them, each with the offset where it ends."""
        batch: list[tuple[Record, int]] = []
        metrics, passed = 0, entry.offset
        for record, passed in read(self._path(name), entry.offset):
            if record is None:
                continue
            metrics += len(points_of(record))
            if batch and (metrics > _REQUESTS * METRICS or len(batch) == _REQUESTS * METRICS):
                return batch
            batch.append((record, passed))
        if not batch and passed > entry.offset:  # nothing but broken lines
            entry.offset = passed
            self._note()
        return batch

    def _send(self, client: MlflowClient, name: str, entry: Entry, batch: list[tuple[Record, int]]) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self._log(client, entry, [record for record, _ in batch])
        except MlflowException as error:
            if not is_refusal(error):
                raise
            if not is_there(client, entry.run_id or ""):
                raise _GoneError(name) from None
            if len(batch) > 1:  # one of them is at fault: find it
                for each in batch:
                    self._send(client, name, entry, [each])
                return
            self._on_refused(f"MLflow refused a record of run {name}, which is left out: {first_line(error)}")
        entry.offset = batch[-1][1]
        self._note()
        self._on_sent()

    def _log(self, client: MlflowClient, entry: Entry, records: list[Record]) -> None:
        from mlflow.entities import Metric

        run_id = entry.run_id or ""
        tags: dict[str, str] = {}
        metrics: list[Metric] = []
        params: dict[str, str] = {}
        for record in records:
            tags |= record.get("tags", {}) | nonfinite_tag(record) | bounds_tag(record.get("metrics", {}))
            params |= record.get("params", {})
            metrics += [
                Metric(taken_name(key), value, record["time_ms"], record["step"]) for key, value in points_of(record).items()
            ]
        if params:
            tags |= send_params(client, run_id, params, self._params_of(client, run_id))
        log_values(client, run_id, metrics, tags)
        if datasets := [dataset_input(record["dataset"]) for record in records if record["kind"] == "dataset"]:
            client.log_inputs(run_id, datasets=datasets[-1:])
        artifacts = [(record["path"], record["folder"]) for record in records if record["kind"] == "artifact"]
        entry.artifacts += [each for each in artifacts if each not in entry.artifacts]
        for record in [record for record in records if record["kind"] == "status"][-1:]:
            _set_status(client, run_id, record)

    def _note(self) -> None:
        """Saves the ledger; where its disk is full, which is not MLflow's fault, after a later batch."""
        try:
            self.ledger.save()
            self._unnoted = False
        except OSError as error:
            if not self._unnoted:
                self._on_refused(
                    f"{self.ledger.path} cannot be written ({error.strerror}); MLflow goes on getting points all the same"
                )
            self._unnoted = True

    def _params_of(self, client: MlflowClient, run_id: str) -> KnownParams:
        """The params that a run has, asked for once; what is sent is added."""
        if run_id not in self._params:
            self._params[run_id] = KnownParams.of(client.get_run(run_id))
        return self._params[run_id]

    def _upload(self, client: MlflowClient, name: str, entry: Entry) -> None:
        """Artifacts after everything else: where their store fails, points have still arrived."""
        while entry.artifacts:
            path, folder = entry.artifacts[0]
            here = moved(Path(path), self._spool.parent)
            if not lies_below(here, self._spool.parent):
                self._on_refused(f"the artifact {path} lies outside {self._spool.parent}, and is left out")
            elif here.name == TRAJECTORIES and not here.exists() and not self._drawn(name, here):
                pass
            elif here.exists():
                send_artifact(client, entry.run_id or "", here, folder)
            else:
                self._on_refused(f"the artifact {path} is no longer there, and is left out")
            entry.artifacts.pop(0)
            self._note()

    def _drawn(self, name: str, file: Path) -> bool:
        """Draws a run's trajectories from its spool; where the disk refuses them they are left out."""
        try:
            return bool(draw_trajectories(points_in(self._path(name)), f"{self.ledger.experiment} {name}", file.parent))
        except OSError as error:
            self._on_refused(f"{file} cannot be written ({error.strerror}), and is left out")
            return False


def _set_status(client: MlflowClient, run_id: str, record: Record) -> None:
    if record["status"] == "RUNNING":
        client.update_run(run_id, status="RUNNING")
    else:
        client.set_terminated(run_id, record["status"], record["time_ms"])


def _run_name(ledger: Ledger, name: str) -> str:
    if name == AMORTISED:
        return "amortised front"
    return ledger.experiment if name == SWEEP else f"trial {name.replace('-seed-', ' seed ')}"
