"""Reading from a real MLflow SQLite store."""

from __future__ import annotations

import json
import math
import pickle
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from mlflow import MlflowClient
from sqlalchemy import create_engine, text

from dualsweep.analysis.errors import ReviewError
from dualsweep.analysis.reading import read_sweep
from tests.analysis.made_up import HOSTILE, log_parent, log_trial, made_up_trials, new_store
from tests.stores import empty_store

Store = tuple[str, str]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return new_store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def sweep(store: Store) -> tuple[str, str, str]:
    """A sweep of 14 trials, with one that fails, one that diverges, and three made special."""
    uri, experiment = store
    parent = log_parent(uri, experiment, tags={"dualsweep.reference_point": "[0.2, 0.4]"})
    trials = made_up_trials(14)
    trials[1] = replace(trials[1], metrics={n: v for n, v in trials[1].metrics.items() if not n.startswith("slack/")})
    trials[5] = replace(trials[5], metrics=dict(trials[5].metrics) | {"objective": math.nan, "eval/fid": math.inf})
    trials[3] = replace(trials[3], status="running")
    for number, trial in enumerate(trials):
        log_trial(uri, experiment, parent, trial, start=1_000_000 + number)
    return uri, experiment, parent


def test_reads_what_was_logged(sweep: tuple[str, str, str]) -> None:
    uri, experiment, parent = sweep
    record = read_sweep(uri, "digits-minority")
    assert (record.experiment_id, record.parent_run_id) == (experiment, parent)
    assert list(record.objectives.items()) == [("objective", "minimize"), ("value/max", "minimize")]
    assert record.reference_point == (0.2, 0.4)
    assert [trial.trial_id for trial in record.trials] == [f"{n:04d}" for n in range(14)]
    made, read = made_up_trials(14)[0], record.trials[0]
    assert dict(read.metrics) == pytest.approx(dict(made.metrics))  # the last step's, not the last logged
    assert dict(read.params) == dict(made.params)
    assert [(c.name, c.budget) for c in read.constraints] == [(c.name, c.budget) for c in made.constraints]
    assert read.steps == 1500 and read.seconds == pytest.approx(made.seconds, abs=1e-3)


def test_a_run_without_a_verdict_of_its_own_is_judged_by_its_slacks(sweep: tuple[str, str, str]) -> None:
    read = read_sweep(sweep[0], "digits-minority").trials[0]
    slacks, tolerance = [c.slack for c in read.constraints], 0.02 * (0.25 - 0.08)  # of a run without a verdict of its own
    assert all(c.tolerance == pytest.approx(tolerance) for c in read.constraints)
    assert read.standing == ("met" if min(slacks) + tolerance >= 1.645 * 0.0015 else "undecided") and read.marked == {}


def test_doubtful_trials_are_not_feasible(sweep: tuple[str, str, str]) -> None:
    trials = read_sweep(sweep[0], sweep[1]).trials
    assert trials[1].standing is None and "no finite slack" in trials[1].doubt
    assert trials[3].standing is None and trials[3].seconds is None
    assert trials[10].status == "diverged" and trials[10].standing is None
    assert trials[12].status == "failed" and trials[12].reason == HOSTILE and trials[12].metrics == {}


def test_figures_that_are_not_finite_are_read_as_they_were(sweep: tuple[str, str, str]) -> None:
    odd = read_sweep(sweep[0], sweep[1]).trials[5]
    assert odd.standing in ("met", "undecided") and math.isnan(odd.metric("objective"))
    assert odd.metric("eval/fid") == math.inf  # though the SQL store keeps the largest double


def test_a_record_can_be_pickled_and_taken_apart(sweep: tuple[str, str, str]) -> None:
    record = read_sweep(sweep[0], sweep[2])
    assert repr(pickle.loads(pickle.dumps(record.trials[0]))) == repr(record.trials[0])  # NaN differs from itself
    assert asdict(record)["trials"][0]["params"] == record.trials[0].params


def test_the_newest_of_several_sweeps_is_meant_and_any_can_be_chosen(tmp_path: Path) -> None:
    uri, experiment = new_store(tmp_path, "twice")
    old, new = log_parent(uri, experiment, start=1000), log_parent(uri, experiment, start=2000)
    trials = made_up_trials(3)
    for trial in trials:
        log_trial(uri, experiment, old, trial)
    log_trial(uri, experiment, new, trials[0])
    assert read_sweep(uri, "twice").parent_run_id == new
    assert len(read_sweep(uri, new).trials) == 1
    assert len(read_sweep(uri, old).trials) == 3


def test_the_newest_run_of_a_trial_that_was_started_anew_counts(tmp_path: Path) -> None:
    uri, experiment = new_store(tmp_path)
    parent, trial = log_parent(uri, experiment), made_up_trials(1)[0]
    log_trial(uri, experiment, parent, replace(trial, status="interrupted"), start=1000)
    again = log_trial(uri, experiment, parent, trial, start=2000)
    assert [(one.run_id, one.status) for one in read_sweep(uri, parent).trials] == [(again, "converged")]


def test_a_deleted_trial_is_gone(tmp_path: Path) -> None:
    uri, experiment = new_store(tmp_path)
    parent, trials = log_parent(uri, experiment), made_up_trials(2)
    runs = [log_trial(uri, experiment, parent, trial) for trial in trials]
    MlflowClient(uri).delete_run(runs[0])
    assert [trial.run_id for trial in read_sweep(uri, parent).trials] == [runs[1]]


def test_names_what_exists_when_asked_for_what_does_not(sweep: tuple[str, str, str]) -> None:
    with pytest.raises(ReviewError, match=r"got 'digits-minorty'.*Did you mean 'digits-minority'\?"):
        read_sweep(sweep[0], "digits-minorty")
    with pytest.raises(ReviewError, match="got '999'"):
        read_sweep(sweep[0], "999")
    with pytest.raises(ReviewError, match="but 'Default' has none"):
        read_sweep(sweep[0], "Default")


def test_a_trial_is_not_a_sweep(sweep: tuple[str, str, str]) -> None:
    trial = read_sweep(sweep[0], sweep[2]).trials[0]
    with pytest.raises(ReviewError, match=rf"Its sweep is '{sweep[2]}'"):
        read_sweep(sweep[0], trial.run_id)


def test_no_store_is_an_error_and_makes_none(tmp_path: Path) -> None:
    with pytest.raises(ReviewError, match="must name an MLflow store that exists"):
        read_sweep(f"sqlite:///{tmp_path / 'typo.db'}", "digits")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ReviewError, match="must be the address of an MLflow store"):
        read_sweep(str(tmp_path / "mlruns"), "digits")


def test_an_unreachable_server_is_said_at_once() -> None:
    started = time.monotonic()
    with pytest.raises(ReviewError, match="does not answer"):
        read_sweep("http://127.0.0.1:9", "digits")
    assert time.monotonic() - started < 8


def test_a_sweep_is_read_whose_artifacts_are_out_of_reach(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    uri = empty_store(tmp_path)
    client = MlflowClient(uri)
    experiment = client.create_experiment("away", artifact_location="ftp://127.0.0.1:9/x")
    parent, trials = log_parent(uri, experiment), made_up_trials(12)
    for trial in trials:
        log_trial(uri, experiment, parent, trial)
    client.create_run(experiment, tags={"dualsweep.kind": "amortised", "mlflow.parentRunId": parent})
    record = read_sweep(uri, parent)
    assert len(record.trials) == 12 and record.drawn == {} and record.amortised is None
    told = [each.getMessage() for each in caplog.records if each.name.startswith("dualsweep")]
    assert len(told) == 2 and "amortised front cannot be read" in told[0] and "what trials drew cannot be read" in told[1]
    assert all("Connection refused" in each for each in told)


@pytest.mark.parametrize("objectives", ["", "not json", "[]", "{}", '{"a": "up"}', '{"a": []}'])
def test_a_parent_without_objectives_is_refused(tmp_path_factory: pytest.TempPathFactory, store: Store, objectives: str) -> None:
    uri, _ = store
    experiment = MlflowClient(uri).create_experiment(f"broken {objectives}")
    log_parent(uri, experiment, tags={"dualsweep.objectives": objectives})
    with pytest.raises(ReviewError, match=r"dualsweep.objectives of run .* must be a JSON object"):
        read_sweep(uri, experiment)


@pytest.mark.parametrize("point", ["[1]", "[1, NaN]", "{}", '["a", 1]', "7"])
def test_a_reference_point_that_does_not_fit_is_refused(store: Store, point: str) -> None:
    uri, _ = store
    experiment = MlflowClient(uri).create_experiment(f"reference {point}")
    log_parent(uri, experiment, tags={"dualsweep.reference_point": point})
    with pytest.raises(ReviewError, match="JSON list of 2 finite numbers"):
        read_sweep(uri, experiment)


def test_a_reference_point_that_was_taken_back_is_none(store: Store) -> None:
    uri, _ = store
    experiment = MlflowClient(uri).create_experiment("reference taken back")
    log_parent(uri, experiment, tags={"dualsweep.reference_point": "null"})
    assert read_sweep(uri, experiment).reference_point is None


def test_a_thousand_trials_and_more_than_a_page(tmp_path: Path) -> None:
    uri, experiment = new_store(tmp_path, "large")
    parent = log_parent(uri, experiment)
    _insert_many(uri, experiment, parent, 1100)
    started = time.monotonic()
    record = read_sweep(uri, "large")
    assert len(record.trials) == 1100 and sum(trial.standing == "met" for trial in record.trials) > 500
    assert time.monotonic() - started < 15


def _insert_many(uri: str, experiment: str, parent: str, count: int) -> None:
    """Insert trials into MLflow's own tables: through the client this would take a minute."""
    columns = "run_uuid, name, source_type, status, start_time, end_time, lifecycle_stage, artifact_uri, experiment_id, user_id"
    runs, tags, metrics = [], [], []
    for trial in made_up_trials(count):
        runs.append({"r": trial.run_id, "t": int(trial.trial_id), "e": int(experiment)})
        kept = {
            "mlflow.parentRunId": parent,
            "dualsweep.kind": "trial",
            "dualsweep.trial": trial.trial_id,
            "dualsweep.status": trial.status,
            "dualsweep.params": json.dumps(dict(trial.params)),
        }
        tags += [{"k": key, "v": value, "r": trial.run_id} for key, value in kept.items()]
        metrics += [{"k": key, "v": value, "r": trial.run_id} for key, value in trial.metrics.items()]
    with create_engine(uri).begin() as connection:
        connection.execute(
            text(f"INSERT INTO runs ({columns}) VALUES (:r, 'x', 'LOCAL', 'FINISHED', :t, :t + 1000, 'active', '', :e, 'me')"),
            runs,
        )
        connection.execute(text("INSERT INTO tags (key, value, run_uuid) VALUES (:k, :v, :r)"), tags)
        connection.execute(
            text("INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid) VALUES (:k, :v, 1, 1500, 0, :r)"),
            metrics,
        )
