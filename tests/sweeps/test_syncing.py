"""`dualsweep sync` delivers what is left, to the end, and says what it could not."""

from __future__ import annotations

import contextlib
import shutil
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

from dualsweep.sweeps.planning.plan import Plan
from dualsweep.sweeps.studies.storage import locked
from dualsweep.sweeps.tracking.ledger import Ledger
from dualsweep.sweeps.tracking.spool import FOLDER, Spool
from tests.stores import empty_store
from tests.sweeps.files import plan
from tests.sweeps.here import dualsweep_here

POINTS = 3000


def spooled(folder: Path, uri: str) -> tuple[Plan, Path]:
    """A sweep file, and an output in `runs/` with a spool of which nothing was delivered."""
    search = plan(folder, f"mlflow.tracking_uri={uri}")
    file = folder / "sweep.yaml"
    file.write_text(file.read_text() + f"\nmlflow: {{tracking_uri: '{uri}'}}\n")
    output = folder / "runs" / search.name
    (output / FOLDER).mkdir(parents=True)
    Ledger.open(output, uri, search.experiment)
    sweep, trial = Spool(output / FOLDER / "sweep.jsonl"), Spool(output / FOLDER / "0000.jsonl")
    for each in (sweep, trial):
        each.begin()
    for step in range(POINTS):
        trial.point(step, {"objective": step / 100})
    trial.end("FINISHED")
    return search, output


@pytest.mark.parametrize("named", ["file", "folder", "nothing"])
def test_all_of_it_is_delivered_once(named: str, tmp_path: Path) -> None:
    search, output = spooled(tmp_path, empty_store(tmp_path))
    names = {"file": ["sweep.yaml"], "folder": [f"runs/{output.name}"], "nothing": []}[named]
    for _ in range(2):
        done = dualsweep_here("sync", *names, folder=tmp_path)
        assert done.returncode == 0 and "has all that was spooled" in done.stdout, done
    client = MlflowClient(search.tracking_uri)
    experiment = client.get_experiment_by_name(search.experiment)
    assert experiment is not None
    [trial] = client.search_runs([experiment.experiment_id], "tags.`dualsweep.kind` = 'trial'")
    history = client.get_metric_history(trial.info.run_id, "objective")
    assert trial.info.status == "FINISHED" and [each.step for each in history] == list(range(POINTS))


def test_what_is_no_sweep_or_is_worked_on_is_refused(tmp_path: Path) -> None:
    _, output = spooled(tmp_path, empty_store(tmp_path))
    done = dualsweep_here("sync", "elsewhere", folder=tmp_path)
    assert done.returncode == 2 and "must be a sweep file or the output folder of a sweep" in done.stderr
    with locked(output / "study.lock"):
        done = dualsweep_here("sync", folder=tmp_path)
    assert done.returncode == 2 and "process" in done.stderr


@pytest.mark.parametrize("fault", ["it runs", "damaged"])
def test_one_sweep_that_is_refused_keeps_no_other_from_its_delivery(fault: str, tmp_path: Path) -> None:
    _, output = spooled(tmp_path, empty_store(tmp_path))
    first = tmp_path / "runs" / "a-first"
    shutil.copytree(output, first)
    if fault == "damaged":
        (first / "tracking.json").write_text("")
    with locked(first / "study.lock") if fault == "it runs" else contextlib.nullcontext():
        done = dualsweep_here("sync", folder=tmp_path)
    assert done.returncode == 2 and f"runs/{output.name}: MLflow" in done.stdout and "has all that was spooled" in done.stdout
    assert {"it runs": "process", "damaged": "runs/a-first, whose tracking.json is damaged"}[fault] in done.stderr


def test_a_store_that_does_not_answer_is_told_in_two_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setattr("dualsweep.sweeps.syncing._PATIENCE", 0.0)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    spooled(tmp_path, f"http://127.0.0.1:{port}")
    done = dualsweep_here("sync", folder=tmp_path)
    assert done.returncode == 1 and len(done.stdout.splitlines()) == 2, done
    assert f"{POINTS + 3} records were not delivered" in done.stdout and "Traceback" not in done.stdout + done.stderr


def test_a_folder_whose_store_has_a_login_is_synced_where_the_variable_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dualsweep.sweeps.syncing._PATIENCE", 0.0)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    uri = "http://me:secret@127.0.0.1:9"
    _, output = spooled(tmp_path, uri)
    refused = dualsweep_here("sync", str(output), folder=tmp_path)
    assert refused.returncode == 2 and "and MLFLOW_TRACKING_URI is not that store" in refused.stderr
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    tried = dualsweep_here("sync", str(output), folder=tmp_path)
    assert tried.returncode == 1 and "records were not delivered to MLflow at http://***@127.0.0.1:9" in tried.stdout, tried
    assert "secret" not in refused.stderr + tried.stdout + tried.stderr


@pytest.mark.parametrize("content", ["", "{}", "[" * 100_000, None])
def test_of_a_folder_whose_ledger_is_damaged_the_sweep_s_file_delivers(content: str | None, tmp_path: Path) -> None:
    _, output = spooled(tmp_path, empty_store(tmp_path))
    ledger = output / "tracking.json"
    ledger.unlink()
    ledger.mkdir() if content is None else ledger.write_text(content)
    refused = dualsweep_here("sync", str(output), folder=tmp_path)
    assert refused.returncode == 2 and "whose tracking.json is damaged; name a sweep file" in refused.stderr, refused.stderr
    done = dualsweep_here("sync", "sweep.yaml", folder=tmp_path)
    assert done.returncode == 0 and "has all that was spooled" in done.stdout + done.stderr


def delivered(folder: Path) -> tuple[Plan, Path, Path]:
    search, output = spooled(folder, f"sqlite:///{folder}/own.db")
    assert dualsweep_here("sync", folder=folder).returncode == 0
    return search, output, folder / "own.db"


def test_a_store_that_lost_all_of_it_gets_all_of_it_again(tmp_path: Path) -> None:
    """Although the ledger knows of nothing that waits. By a process of its own: MLflow keeps a deleted file open in this one."""
    _, _, file = delivered(tmp_path)
    file.unlink()
    done = subprocess.run([sys.executable, "-m", "dualsweep", "sync"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "has all that was spooled" in done.stdout, done
    with contextlib.closing(sqlite3.connect(file)) as connection:
        assert connection.execute("select count(*) from metrics where key = 'objective'").fetchone() == (POINTS,)


@pytest.mark.parametrize("state", ["noise", "a folder", "another's"])
def test_a_store_that_is_none_is_refused_and_left_as_it_is(state: str, tmp_path: Path) -> None:
    _, _, file = delivered(tmp_path)
    file.unlink()
    if state == "a folder":
        file.mkdir()
    elif state == "noise":
        file.write_bytes(b"x" * 5000)
    else:
        with contextlib.closing(sqlite3.connect(file)) as connection:
            connection.execute("create table mine (a)")
    done = dualsweep_here("sync", folder=tmp_path)
    assert done.returncode == 2 and "SWEEP: its store must " in done.stderr and "has all" not in done.stdout
    assert state == "a folder" or file.stat().st_size < 20_000
