"""A sweep's amortised training: what the plan makes of it, and its way into MLflow and out again. Trainings in this process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from mlflow import MlflowClient
from rich.console import Console

from dualsweep.analysis.reading import read_sweep
from dualsweep.sweeps.mirrored.mirror import Here
from dualsweep.sweeps.planning.load import load_plan
from dualsweep.sweeps.planning.plan import Plan
from dualsweep.sweeps.records.explained import Explained
from dualsweep.sweeps.tracking.tracker import Tracker
from dualsweep.sweeps.trials.amortising import ended_in, is_waiting, place_of, run_amortised
from dualsweep.trainer.amortised.front import FILE
from dualsweep.trainer.checkpoint import CheckpointFolder
from dualsweep.trainer.config.diagnostics import InputError
from dualsweep.trainer.dual.coordinator import InProcess
from dualsweep.trainer.engine.dual_side import controller_of
from dualsweep.trainer.engine.host import LocalHost
from dualsweep.trainer.engine.worker import run_worker
from dualsweep.trainer.metric_point import MetricPoint
from dualsweep.trainer.ray_shell.job import result_in
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.result import Result
from tests.stores import empty_store
from tests.sweeps.files import RECIPE, SWEEP, write

QUICK = """\
model: {unet: {channels: [8, 16]}}
schedule: {timesteps: 50}
train: {steps: 10, batch_size: 16, log_every: 2}
evaluation: {samples: 4, sample_steps: 2, loss_draws: 64, judge: {epochs: 1}}
"""


def planned(folder: Path, *overrides: str, sweep: str = SWEEP, recipe: str = RECIPE) -> Plan:
    return load_plan(write(folder, sweep, recipe), [f"mlflow.tracking_uri={empty_store(folder)}", *overrides])


def quick(folder: Path, *overrides: str) -> Plan:
    kept = [each for each in RECIPE.splitlines() if not each.startswith(("model", "train"))]
    return planned(folder, "amortised.points=4", "amortised.steps=12", *overrides, recipe="\n".join([*kept, QUICK]))


def in_process(recipe: Recipe, output: str, on_report: Any) -> Result:
    """`dualsweep.trainer.ray_shell.launch.train` without Ray."""
    done = result_in(output)
    if done is not None:
        return done
    host = LocalHost(InProcess(controller_of(recipe)), CheckpointFolder(f"{output}/checkpoints"))
    result = run_worker(recipe, host, output)
    for payload in host.reports:
        on_report(payload)
    assert result is not None
    return result


def broken_off(*_: Any) -> Result:
    raise KeyboardInterrupt


def recipe_of(plan: Plan) -> Recipe:
    assert plan.amortised_recipe is not None
    return plan.amortised_recipe


def test_true_is_short_for_three_times_the_steps_and_the_default_range(tmp_path):
    plan = planned(tmp_path, "amortised=true")
    recipe = plan.amortised_recipe
    assert recipe is not None and recipe.amortised is not None
    assert recipe.train.steps == 4500 and recipe.amortised.multipliers.high == 3.0 and plan.recipe.amortised is None
    assert planned(tmp_path).amortised_recipe is None and planned(tmp_path, "amortised=false").amortised_recipe is None


def test_its_steps_are_whole_dual_steps(tmp_path):
    recipe = planned(tmp_path, "amortised.steps=101", "dual.every=5").amortised_recipe
    assert recipe is not None and recipe.train.steps == 105


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["amortised={step: 5}"], "amortised.step: must be a known key"),
        (["amortised={by_constraint: {six: {high: 1.0}}}"], "`amortised.by_constraint` must name constraints, but got 'six'"),
        (
            ["amortised=true", "train.batches=separate"],
            "must be mixture with `amortised`, but got separate; drop it",
        ),
        (
            ["set.amortised={}"],
            "must be of a recipe without `amortised`, as each trial has budgets",
        ),
    ],
)
def test_what_cannot_be_amortised_is_told_before_anything_starts(tmp_path, overrides, message):
    with pytest.raises(InputError) as error:
        planned(tmp_path, *overrides)
    assert message in str(error.value)


class Swept(NamedTuple):
    """A sweep of one trial with an amortised training, which was broken off and killed on the way.

    `waits`: whether it was waiting before it began, after Ctrl-C, after its end, and after a kill before its run was told.
    """

    plan: Plan
    out: Path
    waits: list[bool]
    again: Result


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Swept:
    folder = tmp_path_factory.mktemp("swept")
    plan, out, quiet = quick(folder), folder / "out", Console(quiet=True)
    tracker = Tracker(plan, out, pytest.fail, interval=0.1)
    waits = [is_waiting(plan, str(out), tracker)]
    with pytest.raises(KeyboardInterrupt):
        run_amortised(plan, str(out), Here(out), tracker, quiet, broken_off)
    waits.append(is_waiting(plan, str(out), tracker))
    run_amortised(plan, str(out), Here(out), tracker, quiet, in_process)
    waits.append(is_waiting(plan, str(out), tracker))
    tracker.amortised(recipe_of(plan))
    waits.append(is_waiting(plan, str(out), tracker))
    again = run_amortised(plan, str(out), Here(out), tracker, quiet, in_process)
    tracker.trial(0, {"dual.step_size": 0.1, "constraints.four.at_most": 0.1, "constraints.five.at_most": 0.2})
    tracker.end_trial(0, "converged", "")
    tracker.end("done", "FINISHED")
    assert tracker.close() is None
    return Swept(plan, out, waits, again)


def test_it_waits_until_it_has_ended_and_its_run_was_told(swept: Swept) -> None:
    assert swept.waits == [True, True, False, True]
    assert swept.again == ended_in(swept.plan, str(swept.out))


def test_it_is_a_child_run_whose_front_is_read_back_from_mlflow_alone(swept: Swept) -> None:
    plan, out = swept.plan, swept.out
    record = read_sweep(plan.tracking_uri, plan.experiment)
    stored = json.loads((Path(place_of(str(out))) / FILE).read_text())
    assert record.amortised is not None and json.loads(json.dumps(record.amortised.to_json())) == stored
    assert [each.trial_id for each in record.trials] == ["0000"]
    client = MlflowClient(plan.tracking_uri)
    [run] = client.search_runs([record.experiment_id], "tags.`dualsweep.kind` = 'amortised'")
    assert run.data.tags["mlflow.parentRunId"] == record.parent_run_id and run.info.status == "FINISHED"
    assert {each.path for each in client.list_artifacts(run.info.run_id)} >= {FILE, "result.json", "recipe.yaml", "samples.png"}
    assert [each.step for each in client.get_metric_history(run.info.run_id, "objective")][-1] == 12
    assert run.data.params["train.steps"] == "12"


def test_an_ended_amortised_run_is_explained_by_its_result(tmp_path):
    recipe = quick(tmp_path).amortised_recipe
    assert recipe is not None
    points: list[MetricPoint] = []
    result = in_process(recipe, str(tmp_path / "run"), lambda each: points.extend(map(MetricPoint.from_json, each["points"])))
    assert [each.final for each in points] == [False] * (len(points) - 1) + [True]
    explained = Explained.of("one", points, result, recipe)
    assert [each.name for each in explained.verdicts] == ["four", "five"]
