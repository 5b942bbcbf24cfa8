"""Sweeps of 300 constraints, each with a budget of its own: what was spooled is read back from a real SQLite store."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient

from dualsweep.analysis.bounds import bounds_in
from dualsweep.analysis.long_tags import joined
from dualsweep.analysis.preference import Limit, Preference
from dualsweep.analysis.publish import record_preference
from dualsweep.analysis.reading import read_sweep
from dualsweep.analysis.trials import SweepRecord
from dualsweep.sweeps.planning.load import load_plan
from dualsweep.sweeps.planning.plan import Plan
from dualsweep.sweeps.records.explained import Explained
from dualsweep.sweeps.tracking.tracker import Tracker
from dualsweep.sweeps.tracking.training import log_training
from dualsweep.trainer.metric_point import MetricPoint
from dualsweep.trainer.result import ConstraintOutcome, Result
from tests.analysis.made_up import metrics_of
from tests.stores import empty_store
from tests.sweeps.files import RECIPE

NAMES = [f"constraint_{number:03d}_{'x' * 40}" for number in range(300)]
BUDGETS = {f"constraints.{name}.at_most": 0.08 + number / 3000 for number, name in enumerate(NAMES)}


@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    folder = tmp_path_factory.mktemp("many")
    head, _, tail = RECIPE.partition("constraints:\n")
    constraints = "".join(f"  - {{name: {name}, data: {{classes: [4]}}, at_most: 0.12}}\n" for name in NAMES)
    (folder / "recipe.yaml").write_text(head + "constraints:\n" + constraints + tail[tail.index("train:") :].replace("64", "640"))
    (folder / "sweep.yaml").write_text(
        "name: many\nrecipe: recipe.yaml\nsearch:\n  constraints.[*].at_most: {uniform: [0.08, 0.25]}\ntrials: 2\n"
        "objectives: {objective: minimize, value/max: minimize}\n"
        f"mlflow: {{tracking_uri: '{empty_store(folder)}'}}\n"
    )
    return load_plan(folder / "sweep.yaml", ())


@pytest.fixture(scope="module")
def record(search: Plan, tmp_path_factory: pytest.TempPathFactory) -> SweepRecord:
    """The sweep as it is read, after a trial of it."""
    told: list[str] = []
    tracker = Tracker(search, tmp_path_factory.mktemp("many") / "out", told.append, interval=0.1)
    spool = tracker.trial(0, BUDGETS)
    spool.point(10, metrics_of(0.12, random.Random(0), NAMES) | {f"budget/{name}": 0.12 for name in NAMES}, final=True)
    spool.tags({f"dualsweep.verdict.{name}": "binding" for name in NAMES})
    tracker.end_trial(0, "converged", "settled")
    tracker.end("done", "FINISHED")
    assert tracker.close() is None and not told
    return read_sweep(search.tracking_uri, "many")


def test_budgets_objectives_and_what_decides_are_read_as_they_were_searched(search: Plan, record: SweepRecord) -> None:
    assert record.budgets == search.ranges and len(record.budgets) == 300
    assert record.required == search.required and dict(record.objectives) == dict(search.objectives)


def test_a_trial_has_all_its_parameters_budgets_and_figures(record: SweepRecord) -> None:
    (trial,) = record.trials
    assert dict(trial.params) == BUDGETS
    assert [each.name for each in trial.constraints] == NAMES
    assert all((each.budget, each.kind) == (0.12, "at_most") for each in trial.constraints)
    assert sum(name.startswith("multiplier/") for name in trial.metrics) == 300


def test_a_preference_of_many_limits_is_recorded(search: Plan, record: SweepRecord) -> None:
    wish = Preference(best="objective", meets=tuple(Limit(f"value/{name}", "at_most", 0.2) for name in NAMES))
    record_preference(search.tracking_uri, replace(record, prefer=wish))
    assert read_sweep(search.tracking_uri, "many").prefer == wish
    record_preference(search.tracking_uri, record)
    assert read_sweep(search.tracking_uri, "many").prefer is None


def test_a_training_of_its_own_is_logged_whole(search: Plan, tmp_path: Path) -> None:
    metrics = metrics_of(0.12, random.Random(0), NAMES)
    outcome = ConstraintOutcome(0.1, 0.12, 0.02, 0.001, 0.3)
    result = Result("converged", "settled", 0.5, 0.001, dict.fromkeys(NAMES, outcome), "met", 10, 2.0, None, metrics)
    points = [MetricPoint(10, metrics, final=True, time=61.0)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(point.to_json()) + "\n" for point in points))
    uri = empty_store(tmp_path)
    run = MlflowClient(uri).get_run(
        log_training(uri, str(tmp_path), tmp_path, Explained.of("r", points, result, search.recipe), "r.yaml")
    )
    tags = run.data.tags
    assert sum(name.startswith("dualsweep.verdict.") for name in tags) == 300
    assert bounds_in(joined(tags), "r") == {f"budget/{name}": 0.12 for name in NAMES}
    assert run.data.params[f"constraints.{NAMES[-1]}.at_most"] == "0.12" and run.data.metrics[f"slack/{NAMES[-1]}"]
