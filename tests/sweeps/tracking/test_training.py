"""A single training in MLflow: all that a trial has there, once, however often the command is given."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mlflow import MlflowClient

from dualsweep.sweeps.checking import checked_store
from dualsweep.sweeps.records.explained import Explained
from dualsweep.sweeps.reports.explaining import explain_run
from dualsweep.sweeps.tracking.training import log_training
from dualsweep.trainer.config.diagnostics import InputError
from dualsweep.trainer.config.yaml_file import parse, validate
from dualsweep.trainer.metric_point import MetricPoint
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.result import ConstraintOutcome, Result
from tests.sweeps.files import RECIPE


def test_a_training_is_logged_once_and_explained_from_there(tmp_path: Path) -> None:
    recipe = validate(Recipe, parse(RECIPE, "r.yaml"))
    outcome = ConstraintOutcome(0.1, 0.12, 0.02, 0.001, 0.3)
    metrics = {"objective": 0.5, "slack/four": 0.02, "multiplier/four": 0.3, "eval/bad": float("nan")}
    result = Result("converged", "settled", 0.5, 0.001, {"four": outcome, "five": outcome}, "met", 60, 2.0, None, metrics)
    points = [MetricPoint(30, metrics, time=31.0), MetricPoint(60, metrics, time=61.0)]
    folder = tmp_path / "a b#c'é"
    folder.mkdir()
    (folder / "metrics.jsonl").write_text("".join(json.dumps(point.to_json()) + "\n" for point in points))
    explained = Explained.of("r", points, result, recipe)
    uri = f"sqlite:///{folder}/mlflow.db"
    first = log_training(uri, str(folder), folder, explained)
    assert log_training(uri, str(folder), folder, explained) == first
    client = MlflowClient(uri)
    (run,) = client.search_runs([client.get_experiment_by_name(recipe.name).experiment_id])  # type: ignore[union-attr]
    assert run.info.status == "FINISHED" and run.data.tags["dualsweep.kind"] == "training"
    assert run.data.tags["dualsweep.status"] == "converged" and run.data.params["train.steps"] == str(recipe.train.steps)
    assert [(each.step, each.value) for each in client.get_metric_history(first, "objective")] == [(30, 0.5), (60, 0.5)]
    assert {"result.json", "recipe.yaml", "verdicts.json", "trajectories.png"} <= {
        each.path for each in client.list_artifacts(first)
    }
    assert explain_run(first, uri).to_json() == explained.to_json()


@pytest.mark.parametrize(
    ("option", "variable", "expected"),
    [
        (None, None, None),
        (None, "http://h:5000", "http://h:5000"),
        ("sqlite:////a.db", "http://h:5000", "sqlite:////a.db"),
        ("mlflow.db", None, InputError),
        (None, "htp://x", InputError),
        ("sqlite:///~no-such-user/x.db", None, InputError),
    ],
)
def test_the_store_of_a_training(
    option: str | None, variable: str | None, expected: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    if variable is not None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", variable)
    if expected is InputError:
        with pytest.raises(InputError, match="--tracking-uri: must" if option else "MLFLOW_TRACKING_URI: must"):
            checked_store(option)
    else:
        assert checked_store(option) == expected
