"""The made-up store against the rows that MLflow's own client writes, and the review that is read from it."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric, Param

from dualsweep.analysis.reading import read_sweep
from dualsweep.sweeps.planning.load import load_plan
from dualsweep.trainer.config.uris import sqlite_file
from tests.benchmarks.common import ROOT
from tests.benchmarks.demo_store import STEPS, MadeTrial, client_place, demo_store, made_trials
from tests.stores import empty_store

TABLES = {
    "runs": "name, source_type, source_name, entry_point_name, user_id, status, start_time, end_time, source_version, "
    "lifecycle_stage, experiment_id, deleted_time",
    "tags": "key, value", "params": "key, value",
    "metrics": "key, value, timestamp, step, is_nan", "latest_metrics": "key, value, timestamp, step, is_nan",
}  # fmt: skip


def rows(uri: str, table: str, run: str) -> list[object]:
    with contextlib.closing(sqlite3.connect(str(sqlite_file(uri)))) as store:
        return sorted(store.execute(f"select {TABLES[table]} from {table} where run_uuid = ?", (run,)), key=str)


def by_the_client(uri: str, experiment: str, trial: MadeTrial) -> str:
    client = MlflowClient(uri)
    run = str(client.create_run(experiment, trial.start, trial.tags, trial.name).info.run_id)
    client.log_batch(run, params=[Param(*each) for each in list(trial.params.items())[:100]])
    client.log_batch(run, params=[Param(*each) for each in list(trial.params.items())[100:]])
    client.log_batch(run, metrics=[Metric(name, value, trial.end, STEPS) for name, value in trial.metrics.items()])
    client.set_terminated(run, "FINISHED", trial.end)
    return run


def test_the_rows_are_those_that_the_client_writes(tmp_path: Path) -> None:
    for folder in ("made", "logged"):
        (tmp_path / folder).mkdir()
    uri = demo_store(tmp_path / "made", 3, [b"picture"])
    client, other = MlflowClient(uri), empty_store(tmp_path / "logged")
    parent = client.search_runs(["1"], "tags.`dualsweep.kind` = 'sweep'")[0].info.run_id
    experiment = MlflowClient(other).create_experiment("digits", artifact_location=(tmp_path / "logged/artifacts").as_uri())
    trials = list(made_trials(load_plan(str(ROOT / "sweeps/digits.yaml")), parent, 3))
    for trial in trials:
        logged = by_the_client(other, experiment, trial)
        assert [rows(uri, table, trial.run_id) for table in TABLES] == [rows(other, table, logged) for table in TABLES]
    made, written = client.get_run(trials[0].run_id).info, MlflowClient(other).get_run(logged).info
    assert made.artifact_uri.replace("made", "logged") == written.artifact_uri.replace(logged, trials[0].run_id)
    assert [each.path for each in client.list_artifacts(trials[0].run_id)] == ["samples.png"]
    assert client_place(tmp_path / "made", trials[0].run_id).is_dir()


def test_the_review_reads_it_as_a_sweep(tmp_path: Path) -> None:
    record = read_sweep(demo_store(tmp_path, 40), "digits")
    assert [trial.trial_id for trial in record.trials] == [f"{number:04d}" for number in range(40)]
    assert record.required == frozenset() and all(map(record.admitted, record.trials))
    assert {trial.standing for trial in record.trials} == {"met", "undecided", "violated"}
    assert {len(trial.constraints) for trial in record.trials} == {3} and len(record.trials[0].metrics) > 80
    assert record.trials[0].artifacts.endswith(f"{record.trials[0].run_id}/artifacts")
