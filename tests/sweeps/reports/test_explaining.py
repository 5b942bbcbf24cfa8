"""Where `dualsweep explain` finds a run: an output folder, a trial in a sweep's folder, a run in a real MLflow store."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient
from rich.console import Console

from dualsweep.sweeps.records.explained import Explained, write
from dualsweep.sweeps.records.trial_record import TrialRecord
from dualsweep.sweeps.reports.explaining import explain_run, show, wanted_shares
from dualsweep.sweeps.tracking.spool import Spool
from dualsweep.trainer.config.diagnostics import InputError
from dualsweep.trainer.metric_point import MetricPoint
from dualsweep.trainer.recipe.bound import Kind
from dualsweep.trainer.result import ConstraintOutcome, Result
from tests.stores import empty_store
from tests.trainer.recipes import digits

RECIPE = digits()
#: `four` rises against a steady violation to the end; `five` is left alone.
POINTS = [
    (step, {"multiplier/four": step / 20, "slack/four": -0.3, "slack_error/four": 0.1, "multiplier/five": 0.0, "slack/five": 0.1})
    for step in range(1, 101)
]  # fmt: skip
FINAL = {"multiplier/four": 4.5, "slack/four": -0.3, "system/seconds": 2.0}
RESULT = Result(
    "out_of_steps", "all steps used", 0.3, 0.01,
    {"four": ConstraintOutcome(0.8, 0.5, -0.3, 0.01, 4.5), "five": ConstraintOutcome(-0.08, 0.02, 0.1, 0.01, 0.0)},
    "violated", 100, 2.0, None, FINAL,
)  # fmt: skip
RECORDED = [*(MetricPoint(step, metrics, time=float(step)) for step, metrics in POINTS), MetricPoint(100, FINAL, True, 101.0)]
TOLD = Explained.of("it", RECORDED, RESULT, RECIPE)
WORDS = {"four": "runaway", "five": "inactive"}


def files(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write(TOLD, folder)
    (folder / "result.json").write_text(json.dumps(RESULT.to_json()))


@pytest.mark.parametrize("unwritten", [(), ("final", "time")])
def test_an_output_folder(tmp_path: Path, unwritten: tuple[str, ...]) -> None:
    files(tmp_path / "run")
    plain = [{key: value for key, value in each.to_json().items() if key not in unwritten} for each in RECORDED]
    lines = [json.dumps(each) for each in plain]
    (tmp_path / "run" / "metrics.jsonl").write_text("\n".join(lines) + '\n{"step": 1')
    explained = explain_run(str(tmp_path / "run"), None)
    assert explained.recipe.model_dump(mode="json") == RECIPE.model_dump(mode="json") and explained.to_json() == TOLD.to_json()
    assert {each.name: each.word for each in explained.verdicts} == WORDS
    assert explained.tags() == {"dualsweep.verdict.four": "runaway", "dualsweep.verdict.five": "inactive"}
    assert json.loads((tmp_path / "run" / "verdicts.json").read_text()) == explained.to_json()


def test_a_trial_of_a_sweep_has_its_prices(tmp_path: Path) -> None:
    """f = v^2 / 2 over values of -2, -1 and 0, of which the middle one tells half of its price."""
    files(tmp_path / "artifacts" / "0001")
    Spool(tmp_path / "spool" / "0001.jsonl").point(100, FINAL, final=True)
    for number, value in enumerate((-2.0, -1.0, 0.0)):
        price = -value / (2 if value == -1 else 1)
        bound = {"a": ConstraintOutcome(value, value, 0.0, 0.0, price, multiplier_error=0.0)}
        result = Result("converged", "", value**2 / 2, 0.0, bound, "met", 1, 1.0, None, {"objective": value**2 / 2})
        TrialRecord(number, {"constraints.a.at_most": value}, result).save(tmp_path)
    explained = explain_run(str(tmp_path / "trials" / "0001"), None)
    assert explained.prices == ("Loosening `a` by 0.1 buys 0.05 of the objective.",)  # the slope to the next looser one is 0.5
    console = Console(record=True, width=120)
    show(explained, console)
    assert explained.prices[0] in console.export_text()


def _sweep_of_shares(folder: Path, kind: Kind = "at_most") -> None:
    """Trials whose share of class 4 has the log-odds -3 - 40 v at the value v of `four`, and a trial 0001 explained."""
    bounds = {name: replace(each, kind=kind) for name, each in RESULT.constraints.items()}
    run = replace(RESULT, constraints=bounds, metrics=FINAL | {f"eval/share/{name}": 0.07 for name in range(10)})
    (folder / "artifacts" / "0001").mkdir(parents=True)
    write(Explained.of("it", RECORDED, run, digits(evaluation={"samples": 1000})), folder / "artifacts" / "0001")
    (folder / "artifacts" / "0001" / "result.json").write_text(json.dumps(run.to_json()))
    Spool(folder / "spool" / "0001.jsonl").point(100, FINAL, final=True)
    for number, value in enumerate((-0.04, -0.02, 0.0, 0.02, 0.04, 0.06)):
        metrics = {"objective": 0.2, "value/four": value, "eval/share/4": 1 / (1 + math.exp(3 + 40 * value))}
        bound = {"four": ConstraintOutcome(value, value, 0.0, 0.0, 0.1, multiplier_error=0.0)}
        TrialRecord(number, {}, Result("converged", "", 0.2, 0.0, bound, "met", 1, 1.0, None, metrics)).save(folder)


def test_from_a_loss_to_the_share_that_is_wanted(tmp_path: Path) -> None:
    _sweep_of_shares(tmp_path)
    explained = explain_run(str(tmp_path / "trials" / "0001"), None)
    assert explained.shares[0] == "`four`: loss violated, share 0.07 ± 0.008 of 1000 samples (an equal one would be 0.1)"
    assert "constraints.four.at_most -0.0" in explained.goals[0] and "would likely give a share of 0.1, by" in explained.goals[0]
    told = float(explained.goals[0].split()[1])
    assert told == pytest.approx(-0.0201, abs=2e-4)
    beyond = explain_run(str(tmp_path / "trials" / "0001"), None, {"four": 0.9}).goals[0]
    assert beyond.startswith("No trial attained what likely gives a share of 0.9: constraints.four.at_most -0.")
    console = Console(record=True, width=200)
    show(explained, console)
    printed = console.export_text()
    assert all(line in printed for line in (*explained.shares, *explained.goals))


def test_no_budget_is_told_where_the_largest_value_is_minimised(tmp_path: Path) -> None:
    _sweep_of_shares(tmp_path, "minimax")
    explained = explain_run(str(tmp_path / "trials" / "0001"), None)
    assert explained.shares and explained.goals == ()


def test_a_share_that_is_asked_for_wrongly_is_refused(tmp_path: Path) -> None:
    _sweep_of_shares(tmp_path)
    run = str(tmp_path / "trials" / "0001")
    explained = explain_run(run, None)
    assert wanted_shares("--share", "four=0.2", run, explained) == {"four": 0.2} and not wanted_shares(
        "--share", None, run, explained
    )
    for text, said in (
        ("six=0.1", r"\(four, five\)"),
        ("four=1.5", "between 0 and 1"),
        ("four", "NAME=VALUE"),
        ("four=a", "NAME=VALUE"),
    ):
        with pytest.raises(InputError, match=said):
            wanted_shares("--share", text, run, explained)
    with pytest.raises(InputError, match="none"):
        wanted_shares("--share", "four=0.1", run, TOLD)


def test_a_trial_of_a_sweep(tmp_path: Path) -> None:
    files(tmp_path / "artifacts" / "0003")
    spool = Spool(tmp_path / "spool" / "0003.jsonl")
    for step, metrics in POINTS:
        spool.point(step, metrics)
    spool.point(100, FINAL, final=True)
    assert explain_run(str(tmp_path / "trials" / "0003"), None).to_json() == TOLD.to_json()
    with pytest.raises(InputError, match="trials/0003"):
        explain_run(str(tmp_path), None)


def test_a_run_in_mlflow(tmp_path: Path) -> None:
    uri = empty_store(tmp_path)
    client = MlflowClient(uri)
    experiment = client.create_experiment("it", artifact_location=str(tmp_path / "artifacts"))
    run = client.create_run(experiment, tags={"dualsweep.kind": "trial"}).info.run_id
    for time, (step, metrics) in enumerate([*POINTS[::4], POINTS[-1], (100, FINAL)]):
        for name, value in metrics.items():
            client.log_metric(run, name, value, time + 1, step)
    with pytest.raises(InputError, match="has ended"):
        explain_run(run, uri)
    files(tmp_path / "files")
    for name in ("result.json", "recipe.yaml"):
        client.log_artifact(run, str(tmp_path / "files" / name))
    explained = explain_run(run, uri)
    assert {each.name: each.word for each in explained.verdicts} == WORDS
    assert explained.verdicts[0].evidence["multiplier_peak"] == 5.0, "the final evaluation is no part of the trajectory"
    with pytest.raises(InputError, match="--tracking-uri"):
        explain_run("0" * 32, uri)


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="RUN"):
        explain_run("nothing", None)
    with pytest.raises(InputError, match="same command"):
        explain_run(str(tmp_path), None)
    (tmp_path / "runs" / "tiny").mkdir(parents=True)
    (tmp_path / "runs" / "tiny" / "result.json").touch()
    with pytest.raises(InputError, match=r"name one of the runs in it, e.g. .*/runs/tiny$"):
        explain_run(f"{tmp_path}/runs/", None)


def test_one_line_says_each_constraint_and_the_rest_stands_beneath() -> None:
    console = Console(width=150, record=True, force_terminal=False)
    show(TOLD, console)
    lines = console.export_text().splitlines()
    assert lines[0] == "out of steps: all steps used" and lines[1].startswith("objective 0.3")
    [four] = [line for line in lines if line.strip().startswith("four")]
    assert "runaway" in four and TOLD.verdicts[0].sentence in four
    assert lines[lines.index(four) + 1].strip().startswith("→ loosen to constraints.four.at_most 0.8")
    assert any("slack: -0.3 ± 0.01" in line for line in lines)


def test_a_run_whose_artifacts_are_out_of_reach_is_told(tmp_path: Path) -> None:
    uri = empty_store(tmp_path)
    client = MlflowClient(uri)
    experiment = client.create_experiment("away", artifact_location="ftp://127.0.0.1:9/x")
    run = client.create_run(experiment, tags={"dualsweep.kind": "training"}).info.run_id
    with pytest.raises(InputError, match=r"artifacts, are out of reach from here \(.*refused.*\); or name the training"):
        explain_run(run, uri)
