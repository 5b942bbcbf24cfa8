"""`dualsweep front` of sweeps that were deleted, in stores that can be read alone, and beside a folder that refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mlflow import MlflowClient
from rich.console import Console
from sqlalchemy import create_engine, text

from dualsweep.analysis.errors import ReviewError
from dualsweep.sweeps.records.explained import Explained
from dualsweep.sweeps.reports.beside_trials import beside_mlflow
from dualsweep.sweeps.reports.reviewing import rebuild
from dualsweep.trainer.result import Result
from tests.analysis.made_up import log_parent, log_trial, made_up_trials, new_store
from tests.stores import empty_store
from tests.sweeps.here import dualsweep_here
from tests.sweeps.in_process import finished
from tests.trainer.recipes import digits


def logged(uri: str, experiment: str) -> str:
    parent = log_parent(uri, experiment)
    for trial in made_up_trials(12):
        log_trial(uri, experiment, parent, trial)
    return parent


@pytest.mark.parametrize("whole", [False, True])
def test_a_sweep_that_was_deleted_is_told_before_anything_is_written(tmp_path: Path, whole: bool) -> None:
    """Its run alone, or its experiment with all runs; restored it is there again."""
    uri, experiment = new_store(tmp_path)
    client, parent = MlflowClient(uri), logged(uri, experiment)
    (client.delete_experiment if whole else client.delete_run)(experiment if whole else parent)
    way = f"experiments restore --experiment-id {experiment}" if whole else f"runs restore --run-id {parent}"
    with pytest.raises(ReviewError, match=rf"'{parent}' .* was deleted in MLflow and can be restored there \(`mlflow {way}`\)"):
        rebuild(parent, uri, tmp_path / "out", Console(quiet=True))
    assert not (tmp_path / "out").exists()
    (client.restore_experiment if whole else client.restore_run)(experiment if whole else parent)
    assert rebuild(parent, uri, tmp_path / "out", Console(quiet=True))["front"]


def test_a_trial_is_explained_alone_where_its_sweep_was_deleted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    uri, experiment = new_store(tmp_path)
    parent = logged(uri, experiment)
    MlflowClient(uri).delete_run(parent)
    result = Result("converged", "settled", 0.5, 0.001, {}, "met", 60, 2.0, None, {})
    alone = Explained.of("it", [], result, digits(constraints=[]))
    assert beside_mlflow(alone, uri, parent, "0000", {}) == alone
    assert "what the sweep's other trials tell is left out" in caplog.text and "was deleted in MLflow" in caplog.text


def test_where_the_store_may_only_be_read_the_front_is_shown_and_that_is_said(tmp_path: Path) -> None:
    uri, experiment = new_store(tmp_path)
    parent = logged(uri, experiment)
    with create_engine(uri).begin() as connection:
        for table in ("tags", "metrics", "experiment_tags"):
            refuse = "SELECT RAISE(ABORT, 'you may only read here')"
            connection.execute(text(f"CREATE TRIGGER no_{table} BEFORE INSERT ON {table} BEGIN {refuse}; END"))
    console = Console(record=True, width=200, file=(tmp_path / "said").open("w"))
    told = rebuild(parent, uri, tmp_path / "out", console, "{weights: {objective: 1}}")
    said = console.export_text()
    assert told["front"] and told["recommended"]["preferred"]
    (line,) = [each for each in said.splitlines() if "could not be stored" in each]
    assert line.startswith(f"the review is in {tmp_path}/out, but could not be stored in MLflow (") and "may only read" in line
    assert {each.name for each in (tmp_path / "out").iterdir()} == {"front.html", "front.png", "trials.csv"}


def test_where_artifacts_are_out_of_reach_the_front_is_shown(tmp_path: Path) -> None:
    uri = empty_store(tmp_path)
    parent = logged(uri, MlflowClient(uri).create_experiment("away", artifact_location="ftp://127.0.0.1:9/x"))
    console = Console(record=True, width=200, file=(tmp_path / "said").open("w"))
    assert json.dumps(rebuild(parent, uri, tmp_path / "out", console))
    assert "could not be stored in MLflow ([Errno 111] Connection refused)" in console.export_text()


def test_a_folder_that_takes_no_summary_is_reviewed_all_the_same_and_that_is_said(tmp_path: Path) -> None:
    folder = finished(tmp_path)
    in_the_way = folder / "runs/s/.review.json.part"  # it stops root too
    in_the_way.mkdir()
    done = dualsweep_here("front", "runs/s", "--output", "elsewhere", "--json", "found.json", folder=folder)
    assert done.returncode == 0, done
    assert "\nfront: " in done.stdout
    [note] = [line for line in done.stdout.splitlines() if line.startswith("note:")]
    assert "runs/s cannot be written (Is a directory), so what it recommends by itself is as before" in note
    assert json.loads((folder / "found.json").read_text())["front"] and (folder / "elsewhere/front.html").exists()
