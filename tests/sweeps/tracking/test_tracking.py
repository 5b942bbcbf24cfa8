"""What was spooled is in MLflow exactly once, whatever is killed or not there meanwhile. Real stores, a real server."""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from dualsweep.sweeps.interrupts import GRACE, SOON
from dualsweep.sweeps.planning.plan import Plan
from dualsweep.sweeps.tracking.ledger import Ledger
from dualsweep.sweeps.tracking.lines import Lines
from dualsweep.sweeps.tracking.spool import FOLDER, read
from dualsweep.sweeps.tracking.tracker import Tracker
from dualsweep.trainer.config.masking import masked
from tests.stores import empty_store
from tests.sweeps.files import plan

PARAMS = {"dual.step_size": 0.1, "constraints.four.at_most": 0.1, "constraints.five.at_most": 0.2}


@pytest.fixture
def search(tmp_path: Path) -> Plan:
    return plan(tmp_path, f"mlflow.tracking_uri={empty_store(tmp_path)}", "reference_point=[1, 2]")


def said(_: str) -> None:
    raise AssertionError(f"nothing should go wrong, but got {_}")


def runs(tracked: Plan, kind: str) -> list[Run]:
    client = MlflowClient(tracked.tracking_uri)
    experiment = client.get_experiment_by_name(tracked.experiment)
    assert experiment is not None
    return list(
        client.search_runs([experiment.experiment_id], f"tags.`dualsweep.kind` = '{kind}'", order_by=["tags.`dualsweep.trial`"])
    )


def history(tracked: Plan, run: Run, metric: str = "objective") -> list[tuple[int, float]]:
    return [(each.step, each.value) for each in MlflowClient(tracked.tracking_uri).get_metric_history(run.info.run_id, metric)]


def one_trial(tracker: Tracker, number: int, steps: range) -> None:
    spool = tracker.trial(number, PARAMS)
    for step in steps:
        spool.point(step, {"objective": step / 100, "value/four": 1.0})


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, str]:
    """A sweep of three trials that ended in three ways, all delivered, and its parent run's id."""
    folder = tmp_path_factory.mktemp("tracked")
    search = plan(folder, f"mlflow.tracking_uri={empty_store(folder)}", "reference_point=[1, 2]")
    tracker = Tracker(search, folder / "out", said, interval=0.1)
    (folder / "out" / "recipe.txt").write_text("here")
    (folder / "out" / "samples").mkdir()
    (folder / "out" / "samples" / "grid.txt").write_text("grid")
    for number, status in enumerate(["converged", "failed", "interrupted"]):
        one_trial(tracker, number, range(0, 50, 10))
        tracker.end_trial(number, status, f"because {number}")
    tracker.trial(0, PARAMS).artifact(folder / "out" / "recipe.txt")
    tracker.end_trial(0, "converged", "because 0")
    tracker.sweep.artifact(folder / "out" / "samples", "pictures")
    tracker.end("done", "FINISHED", "the band is narrow")
    assert tracker.close() is None and tracker.run_id is not None
    return search, tracker.run_id


def test_a_sweep_is_a_parent_run_that_says_what_was_searched(tracked: tuple[Plan, str]) -> None:
    search, run_id = tracked
    (parent,) = runs(search, "sweep")
    assert run_id == parent.info.run_id and parent.info.status == "FINISHED"
    assert (parent.data.tags["dualsweep.status"], parent.data.tags["dualsweep.reason"]) == ("done", "the band is narrow")
    assert json.loads(parent.data.tags["dualsweep.objectives"]) == {"objective": "minimize", "value/max": "minimize"}
    assert list(json.loads(parent.data.tags["dualsweep.objectives"])) == list(search.objectives)
    assert json.loads(parent.data.tags["dualsweep.search"]) == list(PARAMS)
    assert json.loads(parent.data.tags["dualsweep.reference_point"]) == [1, 2]
    assert parent.data.params["search.dual.step_size"] == "log_uniform [0.003, 0.3]"


def test_each_trial_is_a_child_of_it_with_its_points_and_its_end(tracked: tuple[Plan, str]) -> None:
    search, run_id = tracked
    children = runs(search, "trial")
    assert [child.info.status for child in children] == ["FINISHED", "FAILED", "KILLED"]
    assert [child.data.tags["dualsweep.trial"] for child in children] == ["0000", "0001", "0002"]
    for number, child in enumerate(children):
        assert child.data.tags["mlflow.parentRunId"] == run_id
        assert child.data.tags["dualsweep.reason"] == f"because {number}"
        assert json.loads(child.data.tags["dualsweep.params"]) == PARAMS
        assert (child.data.params["constraints.five.at_most"], child.data.params["train.steps"]) == ("0.2", "1500")
        assert history(search, child) == [(step, step / 100) for step in range(0, 50, 10)]


def test_artifacts_lie_beside_the_store_in_an_experiment_of_the_sweeps_name(tracked: tuple[Plan, str]) -> None:
    search, run_id = tracked
    client, folder = MlflowClient(search.tracking_uri), search.tracking_uri.removeprefix("sqlite:///").removesuffix("/mlflow.db")
    assert [each.path for each in client.list_artifacts(runs(search, "trial")[0].info.run_id)] == ["recipe.txt"]
    assert [each.path for each in client.list_artifacts(run_id, "pictures")] == ["pictures/grid.txt"]
    assert str(client.get_run(run_id).info.artifact_uri).startswith(f"file://{folder}/mlruns/digits-minority/")
    experiment = client.get_experiment_by_name("digits-minority")
    assert experiment is not None and experiment.tags["mlflow.experimentKind"] == "custom_model_development"


def test_a_continued_sweep_goes_on_in_the_same_runs(search: Plan, tmp_path: Path) -> None:
    for steps in (range(0, 30, 10), range(10, 60, 10)):
        tracker = Tracker(search, tmp_path / "out", said, interval=0.1)
        one_trial(tracker, 0, steps)
        tracker.end_trial(0, "interrupted", "")
        assert tracker.close() is None
    longer = plan(tmp_path, f"mlflow.tracking_uri={search.tracking_uri}", "trials=20")
    tracker = Tracker(longer, tmp_path / "out", said, interval=0.1)
    assert tracker.flush(10)
    (parent,), (child,) = runs(search, "sweep"), runs(search, "trial")
    assert (parent.info.status, child.info.status) == ("RUNNING", "KILLED")
    assert tracker.close() is None
    assert history(search, child) == [(step, step / 100) for step in range(0, 60, 10)]
    assert parent.data.params["trials"] == "12"  # MLflow never changes a param
    assert json.loads(parent.data.tags["dualsweep.changed_params"]) == {"trials": "20"}


def test_a_kill_before_the_ledger_is_written_doubles_nothing(search: Plan, tmp_path: Path) -> None:
    tracker = Tracker(search, tmp_path / "out", said, interval=0.1)
    one_trial(tracker, 0, range(5))
    tracker.close()
    ledger = Ledger.open(tmp_path / "out", search.tracking_uri, search.experiment)
    ledger.runs = {}  # runs made and points sent, and nothing of it noted
    ledger.save()
    tracker = Tracker(search, tmp_path / "out", said, interval=0.1)
    assert tracker.close() is None
    (_,), (child,) = runs(search, "sweep"), runs(search, "trial")
    assert history(search, child) == [(step, step / 100) for step in range(5)]
    assert len(child.data.metrics) == 3


def test_a_wiped_store_and_another_one_get_everything(search: Plan, tmp_path: Path) -> None:
    tracker = Tracker(search, tmp_path / "out", said, interval=0.1)
    one_trial(tracker, 0, range(5))
    assert tracker.close() is None
    other = plan(tmp_path, f"mlflow.tracking_uri={empty_store(tmp_path, 'other.db')}")
    assert Tracker(other, tmp_path / "out", said, interval=0.1).close() is None
    assert [history(other, run) for run in runs(other, "trial")] == [[(step, step / 100) for step in range(5)]]
    client = MlflowClient(other.tracking_uri)
    for run in runs(other, "sweep") + runs(other, "trial"):
        client.delete_run(run.info.run_id)
    assert Tracker(other, tmp_path / "out", said, interval=0.1).close() is None
    assert len(runs(other, "sweep")) == len(runs(other, "trial")) == 1


def test_a_child_deleted_while_it_runs_is_begun_anew(search: Plan, tmp_path: Path) -> None:
    tracker = Tracker(search, tmp_path / "out", said, interval=0.1)
    one_trial(tracker, 0, range(5))
    assert tracker.flush(10)
    (before,) = runs(search, "trial")
    MlflowClient(search.tracking_uri).delete_run(before.info.run_id)
    one_trial(tracker, 0, range(5, 8))
    assert tracker.close() is None
    (after,), (_,) = runs(search, "trial"), runs(search, "sweep")
    assert after.info.run_id != before.info.run_id
    assert [step for step, _ in history(search, after)] == list(range(8))


def test_what_is_not_finite_is_counted_not_sent(search: Plan, tmp_path: Path) -> None:
    tracker = Tracker(search, tmp_path / "out", said, interval=0.1)
    tracker.trial(0, PARAMS).point(10, {"objective": math.nan, "value/four": math.inf, "value/five": 1.0})
    assert tracker.close() is None
    (child,) = runs(search, "trial")
    assert child.data.metrics == {"value/five": 1.0, "nonfinite": 2.0}
    assert child.data.tags["dualsweep.nonfinite"] == "objective = nan, value/four = inf"


def test_long_odd_and_many_values_are_taken(search: Plan, tmp_path: Path) -> None:
    tracker = Tracker(search, tmp_path / "out", said, interval=0.1)
    spool = tracker.trial(0, PARAMS)
    spool.params({"long": "x" * 7000, "odd/é*[0]//../k": 1, **{f"p{number}": number for number in range(250)}})
    spool.tags({"tag": "x" * 9000})
    for step in range(3):
        spool.point(step, {f"m/{number}": 1.0 for number in range(1500)})
    for step in range(3, 2500):
        spool.point(step, {"objective": 1.0})
    assert tracker.close() is None
    (child,) = runs(search, "trial")
    assert len(child.data.params["long"]) == 6000 and child.data.params["odd/é__0_/k"] == "1"
    assert child.data.params["p249"] == "249" and len(child.data.tags["tag"]) == 8000
    assert len(child.data.metrics) == 1502 and len(history(search, child)) == 2497


def test_an_artifact_that_is_gone_is_told_and_holds_nothing_up(search: Plan, tmp_path: Path) -> None:
    told: list[str] = []
    tracker = Tracker(search, tmp_path / "out", told.append, interval=0.1)
    tracker.sweep.artifact(tmp_path / "out" / "gone.png")
    assert tracker.close() is None
    assert told == [f"the artifact {tmp_path}/out/gone.png is no longer there, and is left out"]


def test_passwords_are_not_shown() -> None:
    assert masked("postgresql://me:secret@host/db") == "postgresql://me:***@host/db"
    assert masked("http://127.0.0.1:5000") == "http://127.0.0.1:5000"


class Server:
    """`mlflow server` on loopback, with a process group of its own."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self.uri = f"http://127.0.0.1:{port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        command += [
            "--backend-store-uri",
            f"sqlite:///{self.folder}/server.db",
            "--artifacts-destination",
            str(self.folder / "artifacts"),
        ]
        with (self.folder / "server.log").open("ab") as log:
            quick = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # no process for jobs, of which it gets none
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, cwd=self.folder, env=quick)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.2)
        raise AssertionError((self.folder / "server.log").read_text())

    def kill(self) -> None:
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Outage(NamedTuple):
    """What a sweep met whose server was not there, came, was killed in its midst, and came back for the next process.

    `seconds`: that the first points took, and the end. `early`: whether all was delivered before there was a server; `while_up`:
    points of trials there once there was one; `told` and `left`: what was said meanwhile, and at the end.
    """

    tracked: Plan
    seconds: tuple[float, float]
    early: bool
    while_up: list[int]
    told: list[str]
    left: str | None


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that is not started yet."""
    with unstarted(tmp_path_factory.mktemp("server")) as made:
        yield made


@contextlib.contextmanager
def unstarted(folder: Path) -> Iterator[Server]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    empty_store(folder, "server.db")
    server = Server(folder, port)
    yield server
    if server.process is not None and server.process.poll() is None:
        server.kill()


def fail_at_once(environment: pytest.MonkeyPatch) -> None:
    """MLflow's client tries a server that refuses it twice, without waiting in between: a call fails at once."""
    environment.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    environment.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")


@pytest.fixture(scope="module")
def outage(server: Server) -> Iterator[Outage]:
    """The server is left running, for looks at what it has."""
    folder = server.folder
    with pytest.MonkeyPatch.context() as environment:
        fail_at_once(environment)
        tracked = plan(folder, f"mlflow.tracking_uri={server.uri}")
        (folder / "out").mkdir(exist_ok=True)
        (folder / "out" / "recipe.txt").write_text("here")
        told: list[str] = []
        tracker = Tracker(tracked, folder / "out", told.append, interval=0.2)
        start = time.monotonic()
        one_trial(tracker, 0, range(5))
        first = time.monotonic() - start
        deadline = time.monotonic() + 60
        while not told and time.monotonic() < deadline:
            time.sleep(0.05)
        early = tracker.flush(1)
        said_early = list(told)
        server.start()
        assert tracker.flush(60)
        one_trial(tracker, 0, range(5, 10))
        assert tracker.flush(60)
        while_up = [len(history(tracked, run)) for run in runs(tracked, "trial")]
        server.kill()  # and it is not back before the end of the process
        one_trial(tracker, 1, range(15))
        tracker.sweep.artifact(folder / "out" / "recipe.txt")
        tracker.end_trial(1, "converged", "")
        start = time.monotonic()
        left = tracker.close(timeout=5)
        last = time.monotonic() - start
        server.start()
        assert Tracker(tracked, folder / "out", told.append, interval=0.2).close(timeout=60) is None
        yield Outage(tracked, (first, last), early, while_up, said_early, left)


@pytest.mark.slow
def test_outages_do_not_stop_a_run_and_are_told_once(outage: Outage) -> None:
    first, last = outage.seconds
    assert first < 1 and last < 10  # the run does not wait for MLflow, and its end no longer than it is told to
    assert not outage.early  # tried again and again, and told once
    assert len(outage.told) == 1
    assert outage.told[0].startswith(f"MLflow at {outage.tracked.tracking_uri} cannot be written to (")
    assert "training goes on, and points are kept in" in outage.told[0]
    assert outage.left is not None and "the same call again delivers them, or `dualsweep sync /" in outage.left


@pytest.mark.slow
def test_outages_lose_no_point_and_double_none(outage: Outage) -> None:
    tracked = outage.tracked
    assert outage.while_up == [10]
    (parent,), children = runs(tracked, "sweep"), runs(tracked, "trial")
    assert [history(tracked, run) for run in children] == [[(step, step / 100) for step in range(last)] for last in (10, 15)]
    assert children[1].info.status == "FINISHED"
    client = MlflowClient(tracked.tracking_uri)
    assert [each.path for each in client.list_artifacts(parent.info.run_id)] == ["recipe.txt"]


@pytest.mark.slow
def test_an_outage_that_ends_while_the_end_waits_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_at_once(monkeypatch)
    with unstarted(tmp_path) as server:
        tracked, told = plan(tmp_path, f"mlflow.tracking_uri={server.uri}"), list[str]()
        tracker = Tracker(tracked, tmp_path / "out", told.append, interval=0.1)
        one_trial(tracker, 0, range(5))
        starting = threading.Thread(target=server.start)
        starting.start()
        left = tracker.close(timeout=60)
        starting.join()
        assert left is None and [len(history(tracked, run)) for run in runs(tracked, "trial")] == [5]


@pytest.mark.slow
def test_after_a_signal_the_end_leaves_time_to_say_what_is_left(tmp_path: Path) -> None:
    """By MLflow's own patience with a store that refuses connections."""
    with unstarted(tmp_path) as server:
        tracked = plan(tmp_path, f"mlflow.tracking_uri={server.uri}")
        tracker = Tracker(tracked, tmp_path / "out", list[str]().append, interval=0.1)
        one_trial(tracker, 0, range(5))
        began = time.monotonic()
        left = tracker.close(SOON)
        assert left is not None and "were not delivered" in left and time.monotonic() - began < GRACE - 2


KILLED = """\
import sys, time
from pathlib import Path
from dualsweep.sweeps.planning.load import load_plan
from dualsweep.sweeps.tracking.tracker import Tracker
search = load_plan(sys.argv[1], sys.argv[3:])
tracker = Tracker(search, Path(sys.argv[2]), print, interval=0.01)
spool = tracker.trial(0, {})
for step in range(100_000):
    spool.point(step, {"objective": step / 100})
    time.sleep(0.002)
"""


def test_a_kill_while_points_are_sent_doubles_and_loses_none(search: Plan, tmp_path: Path) -> None:
    output = tmp_path / "out"
    override = f"mlflow.tracking_uri={search.tracking_uri}"
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path / "sweep.yaml"), str(output), override])
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and sent(output) < 1:
        time.sleep(0.05)
    time.sleep(0.5)
    process.kill()
    process.wait()
    tracker = Tracker(search, output, said, interval=0.1)
    lines = [record for record, _ in read(output / FOLDER / "0000.jsonl") if record is not None]
    last = max(line["step"] for line in lines if line["kind"] == "point")
    one_trial(tracker, 0, range(last - 20, last + 20))
    assert tracker.close() is None
    (child,) = runs(search, "trial")
    assert history(search, child) == [(step, step / 100) for step in range(last + 20)]


def sent(output: Path) -> int:
    ledger = output / "tracking.json"
    return int(json.loads(ledger.read_text())["runs"].get("0000", {"offset": 0})["offset"]) if ledger.exists() else 0


def test_a_server_that_was_never_there_holds_nothing_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_at_once(monkeypatch)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    tracked = plan(tmp_path, f"mlflow.tracking_uri=http://127.0.0.1:{port}")
    told: list[str] = []
    tracker = Tracker(tracked, tmp_path / "out", told.append, interval=0.1)
    one_trial(tracker, 0, range(5))
    start = time.monotonic()
    left = tracker.close(timeout=15)
    assert time.monotonic() - start < 16 and tracker.run_id is None
    # begin, tags and two params of the sweep; begin, tags, params and five points of the trial
    assert left is not None and left.startswith(f"12 records were not delivered to MLflow at http://127.0.0.1:{port} (")


def test_what_never_fitted_on_the_disk_is_not_said_to_be_there(
    search: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk takes nothing of trial 0000: `test_spool.py` has one that is full."""
    written = Lines._flush
    monkeypatch.setattr(Lines, "_flush", lambda it: None if it.path.stem == "0000" else written(it))
    output = tmp_path / "out"
    tracker = Tracker(search, output, print, interval=0.1)
    one_trial(tracker, 0, range(5))
    left = tracker.close()
    assert left is not None and "nothing is lost" not in left
    assert "8 records were not delivered to MLflow at sqlite:///" in left and "8 of them could not be written to" in left

    again = Tracker(search, output, print, interval=0.1)
    one_trial(again, 1, range(5))
    monkeypatch.undo()
    one_trial(again, 0, range(5))
    assert again.close() is None
    (child,) = [each for each in runs(search, "trial") if each.data.tags["dualsweep.trial"] == "0000"]
    assert history(search, child) == [(step, step / 100) for step in range(5)]


def test_what_the_disk_refuses_is_told_once_and_a_paused_training_too_until_there_is_room(search: Plan, tmp_path: Path) -> None:
    """Spools whose folder is away take nothing; 100,000 points wait."""
    told: list[str] = []
    tracker = Tracker(search, tmp_path / "out", told.append, interval=3600)
    spool, away = tracker.trial(0, PARAMS), tmp_path / "away"
    assert tracker.kept(0) and told == []
    (tmp_path / "out" / FOLDER).rename(away)
    for step in range(100_000):
        spool.point(step, {"objective": float(step)})
    assert not any(tracker.kept(0, paused=paused) for paused in (False, True, True))
    away.rename(tmp_path / "out" / FOLDER)
    assert tracker.kept(0) and tracker._unwritten() == 0
    assert ["cannot be written (No such file" in told[0], "training pauses until" in told[1], "again" in told[2]] == [True] * 3
    assert len(told) == 3
    lines = [record for record, _ in read(spool.path) if record is not None and record["kind"] == "point"]
    assert [line["step"] for line in lines] == list(range(100_000))
    tracker.close(timeout=0)
