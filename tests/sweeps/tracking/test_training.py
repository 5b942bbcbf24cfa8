"""A single training in MLflow: all that a trial has there, once, however often the command is given."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from mlflow.entities import Run

from dualsweep.sweeps.checking import checked_store
from dualsweep.sweeps.records.explained import Explained
from dualsweep.sweeps.reports.explaining import explain_run
from dualsweep.sweeps.tracking.training import log_training
from dualsweep.trainer.config.diagnostics import InputError
from dualsweep.trainer.config.yaml_file import parse, validate
from dualsweep.trainer.data.description import description
from dualsweep.trainer.data.splits import assemble
from dualsweep.trainer.evaluation.grid import sample_grid
from dualsweep.trainer.metric_point import MetricPoint
from dualsweep.trainer.recipe.monitor import Monitor
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.result import ConstraintOutcome, Result, Status
from tests.stores import empty_store
from tests.sweeps.files import RECIPE


class Logged(NamedTuple):
    """A training that was logged twice: the run's id each time, the run, and the store."""

    ids: tuple[str, str]
    run: Run
    uri: str
    recipe: Recipe
    explained: Explained


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Logged:
    recipe = validate(Recipe, parse(RECIPE, "r.yaml"))
    recipe = recipe.model_copy(update={"monitor": Monitor(every=30)})
    outcome = ConstraintOutcome(0.1, 0.12, 0.02, 0.001, 0.3)
    metrics = {"objective": 0.5, "slack/four": 0.02, "multiplier/four": 0.3, "budget/four": 0.12, "eval/bad": float("nan")}
    result = Result("converged", "settled", 0.5, 0.001, {"four": outcome, "five": outcome}, "met", 60, 2.0, None, metrics)
    points = [MetricPoint(30, metrics, time=31.0), MetricPoint(60, metrics | {"system/seconds": 2.0}, final=True, time=61.0)]
    folder = tmp_path_factory.mktemp("logged") / "a b#c'é"
    folder.mkdir()
    (folder / "metrics.jsonl").write_text("".join(json.dumps(point.to_json()) + "\n" for point in points))
    assert recipe.data is not None
    (folder / "data.json").write_bytes(description(assemble(recipe), recipe.data))
    (folder / "looks").mkdir()
    for step in (30, 60):
        (folder / "looks" / f"step-{step:08d}.png").write_bytes(sample_grid(torch.full((2, 1, 8, 8), step / 60)))
    explained = Explained.of("r", points, result, recipe)
    uri = f"sqlite:///{folder}/mlflow.db"
    first, second = (log_training(uri, str(folder), folder, explained, "r.yaml") for _ in range(2))
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(recipe.name)
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    return Logged((first, second), run, uri, recipe, explained)


def test_a_login_of_its_places_stays_in_its_own_folder(tmp_path: Path) -> None:
    """MLflow has neither; what it has is enough to explain the training."""
    mark, recipe = "MARKED-SECRET", validate(Recipe, parse(RECIPE, "r.yaml"))
    model = recipe.model.model_copy(update={"unet": None, "load": f"sftp://me:{mark}@host/base"})
    metrics = {"objective": 0.5, "slack/four": 0.02, "multiplier/four": 0.3}
    outcome = {"four": ConstraintOutcome(0.1, 0.12, 0.02, 0.001, 0.3)}
    checkpoint = f"sftp://me:{mark}@host/run/checkpoints/step-00000060"
    result = Result("converged", "settled", 0.5, 0.001, outcome, "met", 60, 2.0, checkpoint, metrics)
    points = [MetricPoint(30, metrics, time=31.0), MetricPoint(60, metrics, final=True, time=61.0)]
    explained = Explained.of("r", points, result, recipe.model_copy(update={"model": model}))
    folder, store = tmp_path / "run", tmp_path / "store"
    for each in (folder, store):
        each.mkdir()
    (folder / "metrics.jsonl").write_text("".join(json.dumps(point.to_json()) + "\n" for point in points))
    (folder / "notes.txt").write_text(f"read from sftp://me:{mark}@host/base\n")
    data = {"source": "huggingface", "name": "x", "recipe": {"token": f"sftp://me:{mark}@host"}, "examples": 2, "shape": [1]}
    (folder / "data.json").write_text(json.dumps({**data, "digest": "d"}))
    uri = empty_store(store)
    run = log_training(uri, str(folder), folder, explained, "r.yaml")
    assert MlflowClient(uri).get_run(run).data.params["model.load"] == "sftp://***@host/base"
    files = [path for path in store.rglob("*") if path.is_file()]
    assert {"result.json", "recipe.yaml", "notes.txt", "data.json"} <= {path.name for path in files}
    assert [path for path in files if mark.encode() in path.read_bytes()] == []
    assert [each.sentence for each in explain_run(run, uri).verdicts] == [each.sentence for each in explained.verdicts]
    assert mark in (folder / "tracked" / "recipe.yaml").read_text(), "which continues from there"


def test_a_training_is_logged_once_and_explained_from_there(logged: Logged) -> None:
    (first, second), run, client = logged.ids, logged.run, MlflowClient(logged.uri)
    assert first == second == run.info.run_id
    assert run.info.status == "FINISHED" and run.data.tags["dualsweep.kind"] == "training"
    assert run.data.tags["dualsweep.status"] == "converged"
    assert [(each.step, each.value) for each in client.get_metric_history(first, "objective")] == [(30, 0.5), (60, 0.5)]
    assert {"result.json", "recipe.yaml", "verdicts.json", "trajectories.png"} <= {
        each.path for each in client.list_artifacts(first)
    }
    assert explain_run(first, logged.uri).to_json() == logged.explained.to_json()


def test_the_pictures_of_its_looks_are_a_series_of_mlflow_s_own_form(logged: Logged) -> None:
    client = MlflowClient(logged.uri)
    names = sorted(Path(each.path).name for each in client.list_artifacts(logged.ids[0], "images"))
    other = client.create_run(logged.run.info.experiment_id).info.run_id
    client.log_image(other, np.zeros((4, 4), dtype=np.uint8), key="samples", step=30, timestamp=31_000)
    theirs = sorted(Path(each.path).name for each in client.list_artifacts(other, "images"))

    def without_mark(name: str) -> str:
        return re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "MARK", name)

    assert [without_mark(each) for each in names[:2]] == [without_mark(each) for each in theirs]
    assert len(names) == len(set(names)) == 4 and all("+step+60+" in each for each in names[2:])
    tags = client.get_run(other).data.tags
    assert logged.run.data.tags["mlflow.loggedImages"] == tags["mlflow.loggedImages"]


def test_its_run_says_who_began_it_from_what_and_on_which_data(logged: Logged) -> None:
    tags, params = logged.run.data.tags, logged.run.data.params
    assert tags["mlflow.source.name"] == "r.yaml" and tags["mlflow.user"]
    assert params["train.steps"] == str(logged.recipe.train.steps)
    assert "null" not in params.values() and not any(key.startswith("rollout.") for key in params)
    (used,) = logged.run.inputs.dataset_inputs  # type: ignore[union-attr]
    assert json.loads(used.dataset.profile or "")["num_rows"] == 1797 and used.tags[0].value == "training"


def test_a_training_that_ends_with_other_resources_or_odd_class_names_is_logged_too(logged: Logged, tmp_path: Path) -> None:
    """MLflow never changes a param: what a training has after it was resumed with another value is in a tag."""
    recipe, uri = logged.recipe, empty_store(tmp_path)
    assert recipe.data is not None
    (tmp_path / "metrics.jsonl").write_text(
        json.dumps(MetricPoint(60, {"eval/share/cat (young)": 0.5}, final=True, time=61.0).to_json()) + "\n"
    )
    recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"keep": {"cat (young)": 0.1}})})
    ends: tuple[tuple[int, Status], ...] = ((4, "failed"), (1, "converged"))
    for workers, status in ends:
        resources = recipe.resources.model_copy(update={"workers": workers})
        result = replace(logged.explained.result, status=status)
        explained = Explained.of("r", [], result, recipe.model_copy(update={"resources": resources}))
        run = MlflowClient(uri).get_run(log_training(uri, str(tmp_path), tmp_path, explained, "r.yaml"))
    assert run.data.params["data.keep.cat _young_"] == "0.1" and run.data.params["resources.workers"] == "4"
    assert run.data.metrics["eval/share/cat _young_"] == 0.5
    assert json.loads(run.data.tags["dualsweep.changed_params"]) == {"resources.workers": "1"}
    assert (run.info.status, run.data.tags["dualsweep.status"]) == ("FINISHED", "converged")


def test_a_training_that_ends_with_its_first_resources_again_has_no_changed_params(logged: Logged, tmp_path: Path) -> None:
    recipe, uri, told = logged.recipe, empty_store(tmp_path), []
    for workers in (1, 4, 1):
        resources = recipe.resources.model_copy(update={"workers": workers})
        explained = Explained.of("r", [], logged.explained.result, recipe.model_copy(update={"resources": resources}))
        run = MlflowClient(uri).get_run(log_training(uri, str(tmp_path), tmp_path, explained, "r.yaml"))
        told.append(run.data.tags.get("dualsweep.changed_params"))
    assert told == [None, '{"resources.workers": "4"}', "{}"]


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


def test_its_charts_begin_with_objective_slacks_and_multipliers_and_budgets_are_none(logged: Logged) -> None:
    """MLflow puts the sections of charts in the order of the metrics' prefixes, and those without one last."""
    client, run = MlflowClient(logged.uri), logged.run
    sections = sorted({name.rpartition("/")[0] or "~" for name in run.data.metrics})
    assert sections[0] == "course" and "budget" not in sections
    assert sorted(name for name in run.data.metrics if name.startswith("course/")) == [
        "course/multiplier four", "course/objective", "course/slack four"
    ]  # fmt: skip
    assert [each.step for each in client.get_metric_history(run.info.run_id, "course/objective")] == [30], "not the final point"
    assert json.loads(run.data.tags["dualsweep.bounds"]) == {"four": 0.12}
