"""The driver's folder behind a URI: taken up from there alone, kept through an outage, and never two at once."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from dualsweep.sweeps.exporting.chosen import choose
from dualsweep.sweeps.mirrored import lease, mirror
from dualsweep.sweeps.mirrored.driving import brought, driving, working_folder
from dualsweep.sweeps.planning.load import load_plan
from dualsweep.sweeps.progress import Progress
from dualsweep.sweeps.records.explained import Explained, write
from dualsweep.sweeps.records.trial_record import TrialRecord
from dualsweep.sweeps.runner import Runner
from dualsweep.sweeps.studies.kept import JOURNAL
from dualsweep.sweeps.studies.study import Study
from dualsweep.sweeps.tracking.spool import points_in
from dualsweep.sweeps.tracking.tracker import Tracker
from dualsweep.trainer.config.uris import BadPlaceError
from dualsweep.trainer.metric_point import Payload
from dualsweep.trainer.storage import RESULT, filesystem
from tests.object_store import SECRET, Relay, Store, client_environment, fresh_clients
from tests.stores import empty_store
from tests.sweeps.here import dualsweep_here
from tests.sweeps.in_process import RECIPE
from tests.sweeps.mirrored.driver import drive
from tests.trainer.models.test_build import train
from tests.trainer.recipes import digits

ROOT = Path(__file__).parents[3]
SWEEP: dict[str, Any] = {
    "name": "s", "recipe": {**RECIPE, "checkpoint": {"every": 4}, "train": {"steps": 24, "batch_size": 16, "log_every": 1}},
    "search": {"constraints.four.at_most": {"uniform": [0.3, 0.6]}}, "trials": 2, "sampler": "random",
    "mlflow": {"tracking_uri": "sqlite:///mlflow.db"},
}  # fmt: skip


def at(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on this is a machine with that state folder."""
    monkeypatch.setenv("XDG_STATE_HOME", str(folder))


def emptied(place: str) -> None:
    """Deletes all that is behind a URI, as its owner does."""
    files, root = filesystem(place)
    if files.exists(root):
        files.rm(root, recursive=True)


def test_another_machine_goes_on_and_the_first_does_not_go_back(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    with driving(place, said.append) as driven:
        (driven.folder / "study.journal").write_text("1\n")
    at(tmp_path / "other", monkeypatch)
    with driving(place, said.append) as driven:
        assert (driven.folder / "study.journal").read_text() == "1\n"
        (driven.folder / "study.journal").write_text("1\n2\n")
    at(tmp_path / "state", monkeypatch)
    with driving(place, said.append) as driven:
        assert (driven.folder / "study.journal").read_text() == "1\n2\n"
        before = driven.folder.with_name(f"{driven.folder.name}.before")
    assert (before / "study.journal").read_text() == "1\n" and str(before) in " ".join(said)


def test_what_was_deleted_behind_the_uri_does_not_come_back(place: str) -> None:
    """The same command on the same machine, after `aws s3 rm --recursive`: a training of another recipe, say."""
    said: list[str] = []
    with driving(place, said.append) as driven:
        (driven.folder / "metrics.jsonl").write_text("1\n")
    emptied(place)
    with driving(place, said.append) as driven:
        assert not (driven.folder / "metrics.jsonl").exists()
        before = driven.folder.with_name(f"{driven.folder.name}.before")
    assert (before / "metrics.jsonl").read_text() == "1\n" and str(before) in " ".join(said)
    with driving(place, said.append) as driven:
        (driven.folder / "metrics.jsonl").write_text("2\n")
    with driving(place, said.append) as driven:
        assert (driven.folder / "metrics.jsonl").read_text() == "2\n"


@pytest.mark.parametrize("number_alone", [False, True])
def test_a_run_that_began_anew_elsewhere_is_not_taken_for_the_one_before(
    number_alone: bool, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both were the first behind that URI: a number alone does not tell them apart."""
    for machine, text in (("one", "old\n"), ("two", "new\n")):
        at(tmp_path / machine, monkeypatch)
        emptied(place)
        with driving(place, print) as driven:
            (driven.folder / "study.journal").write_text(text)
    if number_alone:  # as it was noted before runs had identities
        [number] = (tmp_path / "one").rglob(".number")
        number.write_text("1")
    at(tmp_path / "one", monkeypatch)
    with driving(place, print) as driven:
        assert (driven.folder / "study.journal").read_text() == "new\n"
    assert Path(brought(place), "study.journal").read_text() == "new\n"


def test_what_this_machine_did_not_bring_in_time_is_not_lost_here(place: str, tmp_path: Path) -> None:
    """As after a kill: its folder is newer than what is mirrored."""
    with driving(place, print) as driven:
        (driven.folder / "study.journal").write_text("1\n")
    (driven.folder / "study.journal").write_text("1\n2\n")
    with driving(place, print) as driven:
        assert (driven.folder / "study.journal").read_text() == "1\n2\n"
    assert Path(brought(place), "study.journal").read_text() == "1\n2\n"


def test_what_is_acknowledged_is_there(place: str) -> None:
    with driving(place, print) as driven:
        spool, kept = driven.folder / "spool.jsonl", list[Payload]()
        for made in range(1, 100):
            with spool.open("a") as stream:
                stream.write(f"{made}\n")
            kept += driven.settled({"made": made, "points": ["p"]}, waits=made % 10 == 0)
            if kept:
                there = Path(brought(place), "spool.jsonl").read_text().splitlines()
                assert len(there) >= kept[-1]["made"]
            if len(kept) > 20:
                break
            time.sleep(0.02)
    assert [each["made"] for each in kept] == list(range(1, len(kept) + 1)) and len(kept) > 20


def test_an_outage_stops_nobody_and_is_told_once(store: Store, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror, "_LONGEST_WAIT", 0.5)
    relay, said = Relay(int(store.address.rpartition(":")[2])), list[str]()
    for name, value in client_environment(f"http://127.0.0.1:{relay.port}").items():
        monkeypatch.setenv(name, value)
    with fresh_clients(), driving(place, said.append) as driven:
        assert driven.push()
        relay.cut()
        (driven.folder / "study.journal").write_text("1\n")
        assert not driven.push() and driven.settled({"made": 1}, waits=True) == []
        began = time.monotonic()
        assert not driven.push() and time.monotonic() - began < 1, "nobody waits for a store that is known to be away"
        relay.mend()
        until = time.monotonic() + 60
        while not driven.push() and time.monotonic() < until:
            time.sleep(0.2)
        assert [each["made"] for each in driven.settled({"made": 2}, waits=True)] == [1]
        assert Path(brought(place), "study.journal").read_text() == "1\n"
    away, back = said
    assert "does not answer" in away and str(driven.folder) in away and back == f"{place} answers again"


def test_an_outage_that_ends_while_the_end_waits_leaves_nothing(
    store: Store, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay, said = Relay(int(store.address.rpartition(":")[2])), list[str]()
    for name, value in client_environment(f"http://127.0.0.1:{relay.port}").items():
        monkeypatch.setenv(name, value)
    with fresh_clients():
        with driving(place, said.append) as driven:
            assert driven.push()
            relay.cut()
            (driven.folder / "study.journal").write_text("1\n")
            assert not driven.push()
            threading.Timer(3.0, relay.mend).start()
        assert said[-1] == f"{place} answers again"
        assert Path(brought(place), "study.journal").read_text() == "1\n"


def test_what_an_outage_at_the_end_leaves_is_said_and_brought_by_sync(
    store: Store, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "_AT_END", 3.0)
    relay, said = Relay(int(store.address.rpartition(":")[2])), list[str]()
    with monkeypatch.context() as elsewhere, fresh_clients():
        for name, value in client_environment(f"http://127.0.0.1:{relay.port}").items():
            elsewhere.setenv(name, value)
        with driving(place, said.append) as driven:
            assert driven.push()
            relay.cut()
            (driven.folder / "study.journal").write_text("1\n")
    assert "nothing is lost" in said[-1] and f"dualsweep sync {place}" in said[-1]
    with fresh_clients():
        with driving(place, said.append):
            pass
        assert Path(brought(place), "study.journal").read_text() == "1\n"


def test_who_was_taken_for_dead_changes_nothing_and_ends(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was stopped for longer than anybody waits, and goes on."""
    monkeypatch.setattr(mirror, "RENEWED", 3.0)
    said: list[str] = []
    with pytest.raises(KeyboardInterrupt), driving(place, said.append) as late:
        (late.folder / "study.journal").write_text("late\n")
        assert late.push()
        at(tmp_path / "other", monkeypatch)
        monkeypatch.setattr(lease.Owner, "is_gone", True)
        with driving(place, print) as driven:
            (driven.folder / "study.journal").write_text("next\n")
            assert driven.push()
            (late.folder / "study.journal").write_text("later\n")
            late.push()
            assert Path(brought(place), "study.journal").read_text() == "next\n"
        time.sleep(10)
    assert any("another driver has taken over" in each for each in said)


def test_no_trial_begins_before_the_uri_knows_of_it(place: str, tmp_path: Path) -> None:
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump({**SWEEP, "mlflow": {"tracking_uri": empty_store(tmp_path)}}))
    plan = load_plan(tmp_path / "sweep.yaml")
    with driving(place, print) as driven, Study(plan, driven.folder) as study:
        tracker = Tracker(plan, driven.folder, print)
        with Progress(Console(quiet=True), plan.trials, 1, 0) as progress:
            runner = Runner(plan, study, tracker, progress, place, driven)
            for number in range(2):
                assert runner.next() is not None and len(study.unfinished()) == number + 1
                assert Path(brought(place), JOURNAL).read_bytes() == (driven.folder / JOURNAL).read_bytes()
        tracker.close()


def test_sync_brings_what_a_training_behind_a_uri_has_left_here(place: str, tmp_path: Path) -> None:
    with driving(place, print) as driven:
        (driven.folder / "metrics.jsonl").write_text("1\n")
    (driven.folder / "metrics.jsonl").write_text("1\n2\n")
    done = dualsweep_here("sync", place, folder=tmp_path)
    assert done.returncode == 0 and f"{place} has all that is in {driven.folder}" in done.stdout, done
    assert Path(brought(place), "metrics.jsonl").read_text() == "1\n2\n"


def test_sync_writes_nothing_where_no_run_is(place: str, tmp_path: Path) -> None:
    done = dualsweep_here("sync", place, folder=tmp_path)
    assert done.returncode == 2 and "must be where a run's driver has its files" in done.stderr
    assert not filesystem(place)[0].exists(place) and not working_folder(place).exists()


def test_a_login_in_the_uri_is_in_no_name() -> None:
    assert SECRET not in str(working_folder(f"sftp://me:{SECRET}@host"))
    assert working_folder("s3://b/x") != working_folder("s3://c/x") and working_folder("s3://b/x/") == working_folder("s3://b/x")


def test_where_no_run_is_nothing_is_brought(place: str) -> None:
    for each in (place, f"{place}/trials/0001", "s3://no-such-bucket/x"):
        with pytest.raises(BadPlaceError, match="must be where a run's driver has its files"):
            brought(each)
    assert brought("/some/folder") == "/some/folder"


def process(folder: Path, place: str, machine: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    state = folder / machine
    (state / "cwd").mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "tests.sweeps.mirrored.driver", str(folder), place, *arguments]
    environment = {**os.environ, "XDG_STATE_HOME": str(state), "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=state / "cwd", env=environment, capture_output=True, text=True, check=False)


def swept(place: str, folder: Path, kills: Sequence[str]) -> str:
    """A whole sweep whose drivers were killed, at those of their reports, and their machines lost; the last one ended it."""
    plain = {**SWEEP, "mlflow": {"tracking_uri": empty_store(folder)}}
    (folder / "sweep.yaml").write_text(yaml.safe_dump(plain))
    for machine, kill_at in enumerate(kills):
        killed = process(folder, place, f"machine-{machine}", kill_at)
        assert killed.returncode == -9, killed.stderr
        shutil.rmtree(folder / f"machine-{machine}")
    drive(folder, place)
    return place


def test_a_finished_training_s_model_is_the_checkpoint_that_it_delivered(place: str, tmp_path: Path) -> None:
    """And its outcome goes with that one, however it is named; the checkpoints lie behind the URI alone."""
    recipe, run = digits(train={"steps": 4}, checkpoint={"every": 2}, evaluation={"samples": 0}), tmp_path / "run"
    result = train(recipe, run)
    delivered, newer = "step-00000004", "step-00000006"
    result = replace(result, checkpoint=f"{place}/checkpoints/{delivered}")
    with driving(place, print) as driven:
        write(Explained.of("one", [], result, recipe), driven.folder)
        (driven.folder / RESULT).write_text(json.dumps(result.to_json()))
    files, root = filesystem(place)
    for name in (delivered, newer):
        files.put(f"{run}/checkpoints/{delivered}/", f"{root}/checkpoints/{name}/", recursive=True)
    chosen = [choose(each, None, None) for each in (place, f"{place}/checkpoints/{delivered}", f"{place}/checkpoints/{newer}")]
    assert [each.checkpoint.rpartition("/")[2] for each in chosen] == [delivered, delivered, newer]
    assert [each.explained is not None for each in chosen] == [True, True, False]
    files.rm(f"{root}/checkpoints/{delivered}", recursive=True)
    gone = choose(place, None, None)
    assert gone.explained is None and gone.said is not None and gone.said.endswith(f"this is {place}/checkpoints/{newer}")


def without_times(plain: dict[str, Any]) -> dict[str, Any]:
    """What is the same wherever and whenever a trial runs."""
    plain = json.loads(json.dumps(plain))
    metrics = {name: value for name, value in plain["metrics"].items() if not name.startswith("system/")}
    return {**plain, "metrics": metrics, "seconds": 0, "checkpoint": ""}


@pytest.mark.parametrize("kills", [("6",), pytest.param(("1", "2", "1", "2"), marks=pytest.mark.dear)])
def test_a_sweep_goes_on_from_the_uri_alone_to_the_same_end(kills: Sequence[str], place: str, tmp_path: Path) -> None:
    one, other = Path(brought(swept(place, tmp_path, kills))), tmp_path / "alone"
    drive(tmp_path, str(other))
    records = [[without_times(each.to_json()) for each in TrialRecord.load_all(folder)] for folder in (one, other)]
    assert records[0] == records[1] and len(records[0]) == 2
    for number in range(2):
        points = [points_in(folder / "spool" / f"000{number}.jsonl") for folder in (one, other)]
        assert [each.step for each in points[0]] == [each.step for each in points[1]] == [*range(1, 25), 24]
        assert [each.metrics["objective"] for each in points[0]] == [each.metrics["objective"] for each in points[1]]
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in written if SECRET.encode() in path.read_bytes()], "the login is nowhere"
    assert choose(place, "1", None).checkpoint.startswith(f"{place}/trials/0001/checkpoints/step-"), "for `export`"
    files, root = filesystem(place)
    assert not [path for path in files.find(root) if SECRET.encode() in files.cat_file(path)]
