"""`dualsweep sweep` and `dualsweep front` on a real local Ray and a real MLflow store: the whole, and broken off in two ways."""

from __future__ import annotations

import csv
import json
import math
import os
import shutil
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from mlflow import MlflowClient
from mlflow.entities import Run
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from dualsweep.analysis.hypervolume import hypervolume
from dualsweep.sweeps.reports.explaining import explain_run
from dualsweep.trainer.checkpoint import CheckpointFolder
from tests.pipeline.conftest import RECIPE, assert_nothing_left, interrupt, run, start, wait_for

pytestmark = [pytest.mark.ray, pytest.mark.slow]

CURVES = {"objective", "lagrangian", "value/max", "violation/max", "feasible"}
CURVES |= {f"{kind}/{name}" for kind in ("value", "slack", "multiplier") for name in ("four", "five")}


def runs_of(folder: Path, experiment: str = "tiny-sweep") -> tuple[MlflowClient, Run, dict[str, Run]]:
    """The sweep's one parent run, and its children by trial id."""
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    known = client.get_experiment_by_name(experiment)
    assert known is not None
    runs = client.search_runs([known.experiment_id])
    [parent] = [each for each in runs if each.data.tags["dualsweep.kind"] == "sweep"]
    children = {each.data.tags["dualsweep.trial"]: each for each in runs if each.data.tags["dualsweep.kind"] == "trial"}
    assert all(each.data.tags["mlflow.parentRunId"] == parent.info.run_id for each in children.values())
    below = [each for each in runs if each.data.tags["dualsweep.kind"] == "replicate"]
    for each in below:
        assert each.data.tags["mlflow.parentRunId"] == children[each.data.tags["dualsweep.trial"]].info.run_id
        children[f"{each.data.tags['dualsweep.trial']}/seed-{each.data.tags['dualsweep.seed']}"] = each
    assert len(runs) == 1 + len(children), "a run that is there twice"
    return client, parent, children


def artifacts(client: MlflowClient, run: Run) -> set[str]:
    return {each.path for each in client.list_artifacts(run.info.run_id)}


def steps(client: MlflowClient, run: Run, metric: str) -> list[int]:
    return [each.step for each in client.get_metric_history(run.info.run_id, metric)]


def assert_whole_curve(client: MlflowClient, run: Run, last: int = 60) -> None:
    """A point every 5 steps, none of them twice, and the final evaluation on the last step."""
    for metric in CURVES - {"feasible"}:
        assert steps(client, run, metric) == [*range(5, last + 1, 5), last], metric
    assert steps(client, run, "eval/frechet") == [last]


def check_json(plain: dict[str, Any], count: int) -> None:
    """The contract of the `--json` file, and that its parts agree with each other."""
    assert [each["id"] for each in plain["trials"]] == [f"{number:04d}" for number in range(count)]
    by_id = {each["id"]: each for each in plain["trials"]}
    for trial in plain["trials"]:
        assert {"id", "status", "params", "objective", "constraints", "steps", "seconds", "checkpoint"} <= trial.keys()
        assert set(trial["params"]) == {"dual.step_size", "constraints.*.at_most"}
        assert trial["steps"] == (60 if trial["continued_from"] is None else 40)
        assert 0.01 <= trial["params"]["dual.step_size"] <= 0.2
        for each in trial["constraints"].values():
            assert each["budget"] == trial["params"]["constraints.*.at_most"] and each["kind"] == "at_most"
            assert each["slack"] == pytest.approx(each["budget"] - each["value"]) and each["multiplier"] >= 0
    assert plain["front"] and {trial["feasible"] for trial in plain["trials"]} <= {"met", "violated", "undecided"}
    # The searched budget is a knob, as `value/max` is an objective: every trial counts by what it attained.
    points = [(trial["objective"], trial["metrics"]["value/max"]) for trial in plain["trials"]]
    front = [(by_id[each]["objective"], by_id[each]["metrics"]["value/max"]) for each in plain["front"]]
    better = {point for point in points if not any(a != point and a[0] <= point[0] and a[1] <= point[1] for a in points)}
    assert set(front) == better
    volume = hypervolume(front, ["minimize", "minimize"], plain["reference_point"])
    assert plain["hypervolume"] == pytest.approx(volume) and math.isfinite(volume)
    assert {price["trial"] for price in plain["prices"]} >= set(plain["front"]) and plain["recommended"]["knee_reason"]
    assert all(each["multiplier_error"] >= 0 for trial in plain["trials"] for each in trial["constraints"].values())


def check_mlflow(folder: Path, plain: dict[str, Any]) -> tuple[MlflowClient, Run, dict[str, Run]]:
    """What reviewers rely on in the MLflow UI (design.md §4), of trials that are two trainings."""
    client, parent, children = runs_of(folder)
    assert parent.info.status == "FINISHED" and artifacts(client, parent) >= {"front.html", "front.png", "trials.csv"}
    assert sorted(children) == [f"{each['id']}{run}" for each in plain["trials"] for run in ("", "/seed-0", "/seed-1")]
    for trial in plain["trials"]:
        check_trainings(client, folder, trial, children)
        child = children[trial["id"]]
        tags, params = child.data.tags, child.data.params
        assert child.info.status == "FINISHED" and tags["dualsweep.status"] == trial["status"]
        assert tags["dualsweep.front"] == ("true" if trial["id"] in plain["front"] else "false")
        assert json.loads(tags["dualsweep.params"]) == trial["params"]
        quicker = 60 / 40 if trial["continued_from"] else 1  # so that the multipliers go as far in fewer steps
        assert float(params["dual.step_size"]) == pytest.approx(trial["params"]["dual.step_size"] * quicker)
        assert float(params["constraints.five.at_most"]) == trial["params"]["constraints.*.at_most"]
        assert params["train.steps"] == str(trial["steps"]) and params["data.keep.4"] == "0.1"
        assert tags.get("dualsweep.continued_from") == trial["continued_from"]
        assert child.data.metrics.keys() >= CURVES and tags["dualsweep.replicates"] == "2"
        intervals = {f"interval/{name}": half for name, half in trial["intervals"].items()}
        reviewed = {"pareto/front": float(trial["id"] in plain["front"]), "pareto/rank": float(tags["dualsweep.rank"])}
        expected = trial["metrics"] | intervals | reviewed | {"feasibility": trial["feasibility"]}
        assert child.data.metrics == pytest.approx(expected)
        assert artifacts(client, child) >= {"recipe.yaml", "samples.png", "trajectories.png", "result.json"}
        named = {plain["recommended"]["knee"], plain["recommended"]["preferred"]}
        assert (tags["dualsweep.recommended"] != "none") == (trial["id"] in named)
    return client, parent, children


def check_trainings(client: MlflowClient, folder: Path, trial: dict[str, Any], children: dict[str, Run]) -> None:
    """Each training has a run of its own below the trial's; the trial's figures are their means."""
    assert [each["seed"] for each in trial["replicates"]] == [0, 1]
    objectives = [each["objective"] for each in trial["replicates"]]
    assert trial["objective"] == pytest.approx(sum(objectives) / 2) and objectives[0] != objectives[1]
    for training in trial["replicates"]:
        name = f"{trial['id']}/seed-{training['seed']}"
        child = children[name]
        assert child.info.status == "FINISHED" and child.data.params["seed"] == str(training["seed"])
        assert child.data.metrics == pytest.approx(training["metrics"])
        assert child.data.tags.get("dualsweep.continued_from") == trial["continued_from"]
        if trial["continued_from"] is not None:
            neighbour = folder / "runs" / "tiny-sweep" / "trials" / trial["continued_from"] / f"seed-{training['seed']}"
            assert child.data.params["start.from"] == str(neighbour / "checkpoints" / "step-00000060")
        assert_whole_curve(client, child, trial["steps"])
        assert artifacts(client, child) >= {"recipe.yaml", "samples.png", "trajectories.png", "result.json", "explain.md"}
        verdicts = json.loads((folder / "runs" / "tiny-sweep" / "artifacts" / name / "verdicts.json").read_text())
        assert [one["name"] for one in verdicts] == ["four", "five"]
        assert all(child.data.tags[f"dualsweep.verdict.{one['name']}"] == one["word"] for one in verdicts)
        # The same from MLflow alone, and from the training's folder.
        assert explain_run(child.info.run_id, f"sqlite:///{folder}/mlflow.db").to_json() == verdicts
        assert explain_run(str(folder / "runs" / "tiny-sweep" / "trials" / name), None).to_json() == verdicts


def check_study(folder: Path, plain: dict[str, Any]) -> None:
    """The study in the database of the user's: means as values, slacks beyond the tolerance as constraints, none left running."""
    kept = json.loads((folder / "runs" / "tiny-sweep" / "study.json").read_text())
    study = optuna.load_study(study_name=kept["study"], storage=f"sqlite:///{folder}/study.db")
    for trial, told in zip(plain["trials"], study.trials, strict=True):
        assert told.state.name == "COMPLETE" and told.params == trial["params"]
        assert told.values == pytest.approx([trial["objective"], trial["metrics"]["value/max"]])
        assert {name: -told.constraints[name] for name in ("four", "five")} == pytest.approx(
            {name: each["slack"] + each["tolerance"] for name, each in trial["constraints"].items()}
        )


def test_a_sweep_from_nothing_the_same_command_again_and_its_front_from_mlflow_alone(folder: Path) -> None:
    plain = yaml.safe_load((folder / "sweep.yaml").read_text())
    plain |= {"trials": 2, "seeds": 2, "storage": "sqlite:///study.db", "continuation": {"steps": 40}, "concurrency": 1}
    (folder / "sweep.yaml").write_text(yaml.safe_dump(plain))
    run(folder, "sweep", "sweep.yaml", "--json", "r.json")
    assert_nothing_left(folder)
    first = json.loads((folder / "r.json").read_text())
    check_json(first, 2)
    assert [each["continued_from"] for each in first["trials"]] == [None, "0000"]
    check_study(folder, first)
    _, parent, children = check_mlflow(folder, first)

    said = run(folder, "sweep", "sweep.yaml", "--json", "again.json")
    assert "starts" not in said
    assert json.loads((folder / "again.json").read_text()) == first
    _, again, same = check_mlflow(folder, first)
    assert again.info.run_id == parent.info.run_id and again.info.start_time == parent.info.start_time
    assert {name: each.info for name, each in same.items()} == {name: each.info for name, each in children.items()}

    shutil.rmtree(folder / "runs")
    store = f"sqlite:///{folder}/mlflow.db"
    said = run(folder, "front", "tiny-sweep", "--tracking-uri", store, "--output", "other", "--json", "front.json")
    rebuilt = json.loads((folder / "front.json").read_text())
    assert rebuilt == {key: first[key] for key in ("front", "hypervolume", "reference_point", "recommended", "prices")}
    assert all(each in said for each in first["front"])
    assert {"front.html", "front.png", "trials.csv"} <= {each.name for each in (folder / "other").iterdir()}
    with (folder / "other" / "trials.csv").open() as file:
        assert {row["trial"]: row["continued_from"] for row in csv.DictReader(file)} == {"0000": "", "0001": "0000"}


def interruptible_sweep(folder: Path) -> list[str]:
    """Three trials, one at a time: two that train, then one whose model is of another shape. The command's arguments."""
    (folder / "recipe.yaml").write_text(yaml.safe_dump({**RECIPE, "model": {"call": "parts:good"}}))
    plain = yaml.safe_load((folder / "sweep.yaml").read_text())
    plain |= {"search": {"model.call": {"choice": ["parts:good", "parts:halves"]}, "dual.step_size": {"choice": [0.02, 0.05]}}}
    # Seed 10 shuffles the grid so that of its first three points only the last one fails.
    plain |= {"sampler": {"name": "grid", "seed": 10}, "trials": 3, "concurrency": 1}
    (folder / "sweep.yaml").write_text(yaml.safe_dump(plain))
    return ["sweep", "sweep.yaml", "--json", "r.json"]


def training_steps(folder: Path) -> list[int]:
    """Training steps that each worker process took, in the order of the processes."""
    return list(Counter((folder / "calls").read_text().split()).values())


def test_ctrl_c_then_kill_9_and_one_failing_trial(folder: Path) -> None:
    arguments = interruptible_sweep(folder)
    output = folder / "runs" / "tiny-sweep"
    checkpoints = CheckpointFolder(str(output / "trials" / "0001" / "checkpoints"))

    process = start(folder, *arguments)
    wait_for((output / "records" / "0000.json").exists, process)
    (folder / "slow").touch()
    wait_for(checkpoints.newest, process)
    said = interrupt(process)
    assert process.returncode == 130 and "to continue" in said and "the same command" in said, said
    assert_nothing_left(folder)
    client, parent, children = runs_of(folder)
    first, second = children["0000"], children["0001"]
    assert sorted(children) == ["0000", "0001"] and parent.info.status == "KILLED"
    assert first.info.status == "FINISHED" and first.data.tags["dualsweep.status"] in ("converged", "out_of_steps")
    assert second.info.status == "KILLED" and second.data.tags["dualsweep.status"] == "interrupted"
    assert_whole_curve(client, first)
    kept = Path(checkpoints.newest() or "").name
    assert 20 <= int(kept.removeprefix("step-")) < 60

    process = start(folder, *arguments)
    wait_for(lambda: Path(checkpoints.newest() or "").name > kept, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert_nothing_left(folder)
    resumed_at = int(Path(checkpoints.newest() or "").name.removeprefix("step-"))
    before = sum(training_steps(folder))

    (folder / "slow").unlink()
    said = run(folder, *arguments, code=3)
    assert "continuing: 1 of 3 trials are done" in said and "trial 0000" not in said
    assert_nothing_left(folder)
    took = training_steps(folder)
    assert sum(took) - before == 60 - resumed_at, "from its checkpoint, and not the first again"
    check_end(folder, first, second)


def check_end(folder: Path, first: Run, second: Run) -> None:
    """Three trials, in the same child runs as before; the failed one says why; nothing is left open anywhere."""
    plain = json.loads((folder / "r.json").read_text())
    good, resumed, failed = plain["trials"]
    assert [each["id"] for each in plain["trials"]] == ["0000", "0001", "0002"]
    assert failed["status"] == "failed" and "(2, 1, 8, 8)" in failed["reason"] and "(2, 1, 4, 4)" in failed["reason"]
    assert {good["status"], resumed["status"]} <= {"converged", "out_of_steps"} and resumed["steps"] == 60
    client, parent, children = runs_of(folder)
    assert sorted(children) == ["0000", "0001", "0002"] and parent.info.status == "FINISHED"
    assert children["0000"].info == first.info, "the first trial's run was touched"
    assert children["0001"].info.run_id == second.info.run_id and children["0001"].info.status == "FINISHED"
    for name in ("0000", "0001"):
        assert_whole_curve(client, children[name])
    tags = children["0002"].data.tags
    assert children["0002"].info.status == "FAILED" and tags["dualsweep.status"] == "failed"
    assert tags["dualsweep.verdict.four"] == tags["dualsweep.verdict.five"] == "unknown"
    assert "(2, 1, 4, 4)" in tags["dualsweep.reason"] and "recipe.yaml" in artifacts(client, children["0002"])
    storage = JournalStorage(JournalFileBackend(str(folder / "runs" / "tiny-sweep" / "study.journal")))
    [study] = optuna.get_all_study_summaries(storage)
    states = [each.state.name for each in optuna.load_study(study_name=study.study_name, storage=storage).trials]
    assert states == ["COMPLETE", "COMPLETE", "FAIL"]
