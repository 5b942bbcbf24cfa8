"""`dualsweep export` on what a sweep left: which trial, what the folder holds, and what is refused, with nothing half-written."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from diffusers import DiffusionPipeline
from mlflow import MlflowClient

import dualsweep as ds
from dualsweep.sweeps.exporting.chosen import choose
from dualsweep.sweeps.exporting.export import export
from dualsweep.sweeps.records.explained import Explained, write
from dualsweep.sweeps.records.replicates import Replicates
from dualsweep.sweeps.records.trial_record import TrialRecord
from dualsweep.trainer.amortised.front import front_of
from dualsweep.trainer.config.diagnostics import InputError
from dualsweep.trainer.engine.sample_command import draw, restore
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.result import failed
from dualsweep.trainer.rng import Stream, normals
from dualsweep.trainer.storage import filesystem
from tests.sweeps.here import dualsweep_here
from tests.sweeps.in_process import RECIPE, finished
from tests.trainer.amortised.test_training import amortised
from tests.trainer.models.test_build import train

MEASURED = {**RECIPE, "evaluation": {"samples": 16, "sample_steps": 4, "loss_draws": 64, "judge": {"epochs": 1}}}


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with the sweep `runs/s` of three trials, and its MLflow store."""
    folder = finished(tmp_path_factory.mktemp("swept"), recipe=MEASURED)
    ds.front(folder / "runs/s", prefer="{weights: {objective: 1}}")
    return folder


@pytest.fixture
def here(swept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The sweep's working directory; what is exported goes elsewhere."""
    monkeypatch.chdir(swept)
    return tmp_path


@pytest.fixture(scope="module")
def exported(swept: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """What the command said of the second trial, and the folder."""
    out = tmp_path_factory.mktemp("exported") / "below" / "out"
    done = dualsweep_here("export", "runs/s", str(out), "--trial", "1", folder=swept)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout, out


def checkpoint_of(sweep: Path, trial: str) -> str:
    """The one checkpoint that a trial left."""
    (found,) = (sweep / "runs/s/trials" / trial / "checkpoints").iterdir()
    return str(found)


def weights(folder: Path) -> bytes:
    return (folder / "unet" / "diffusion_pytorch_model.safetensors").read_bytes()


def test_the_folder_holds_the_trials_model_and_says_how_it_is_loaded(swept: Path, exported: tuple[str, Path]) -> None:
    said, out = exported
    call = f"DiffusionPipeline.from_pretrained('{out}', custom_pipeline='{out}', trust_remote_code=True)"
    assert said.splitlines()[0] == f"{out}: as it was evaluated, {call}"
    assert said.splitlines()[1] == f"as diffusers' own DDIMPipeline, DiffusionPipeline.from_pretrained('{out}')"
    assert sorted(each.name for each in out.iterdir()) == [
        "README.md", "model_index.json", "pipeline.py", "recipe.yaml", "scheduler", "unet"
    ]  # fmt: skip
    assert [each.name for each in out.parent.iterdir()] == ["out"]
    pipeline = DiffusionPipeline.from_pretrained(str(out), custom_pipeline=str(out), trust_remote_code=True)
    model = restore(checkpoint_of(swept, "0001"))
    images = pipeline(3, latents=normals(0, Stream.SAMPLING, 0, range(3), model.shape), output_type="pt").images
    torch.testing.assert_close(2 * images - 1, draw(model, 3), atol=1e-4, rtol=0)


def test_the_card_tells_what_was_asked_and_what_became_of_it(swept: Path, exported: tuple[str, Path]) -> None:
    card = (exported[1] / "README.md").read_text()
    run = ds.load(swept / "runs/s/trials/0001")
    assert isinstance(run, ds.Run)
    outcome, verdict = run.constraints["four"], run.explain()["four"]
    head, body = card.removeprefix("---\n").split("---\n", 1)
    assert yaml.safe_load(head)["library_name"] == "diffusers"
    row = next(line for line in body.splitlines() if line.startswith("| four |"))
    assert f"| at most {outcome.budget:.4g} | {outcome.value:.4g} | {outcome.slack:.4g} ± {outcome.slack_error:.2g} |" in row
    assert row.endswith(f"| {outcome.standing} | {verdict.word} |") and verdict.sentence in body
    assert f"Objective, the least possible under the constraints: {run.objective:.4g} ± {run.objective_error:.2g}." in body
    assert "4 steps of `dpmpp_2m`" in body and "source: digits" in body and "| frechet |" in body
    assert yaml.safe_load((exported[1] / "recipe.yaml").read_text())["name"] == "tiny"


@pytest.mark.parametrize("trial", ["0000", "2"])
def test_each_way_to_name_a_trial_takes_the_same_model(trial: str, here: Path) -> None:
    name = f"{int(trial):04d}"
    export("runs/s", str(here / "by-trial"), trial=trial)
    export(f"runs/s/trials/{name}", str(here / "by-folder"))
    export(checkpoint_of(Path(), name), str(here / "by-checkpoint"))
    assert len({weights(each) for each in here.iterdir()}) == 1
    assert len({(each / "README.md").read_text() for each in here.iterdir()}) == 1


def test_without_a_trial_the_recommended_one_is_taken_and_said(here: Path) -> None:
    (first, *_) = export("runs/s", str(here / "out"))
    best = Path(first.partition(":")[0]).name
    export("runs/s", str(here / "again"), trial=best)
    assert weights(here / "out") == weights(here / "again")


def test_of_several_trainings_the_first_sound_one_is_taken_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(finished(tmp_path, seeds=2, trials=1))
    (record,) = TrialRecord.load_all(Path("runs/s"))
    assert record.replicates is not None
    replicates = Replicates({0: failed("its worker died"), 1: record.replicates.runs[1]})
    replace(record, result=replicates.result, replicates=replicates).save(Path("runs/s"))
    ds.front("runs/s", prefer="{weights: {objective: 1}}")
    place, loaded = Path("runs/s/trials/0000/seed-1").absolute(), ds.load("runs/s")
    assert isinstance(loaded, ds.Swept) and str(loaded.run().folder) == str(loaded.run(0).folder) == str(place)
    for name, trial in {"recommended": None, "named": "0"}.items():
        assert Path(choose("runs/s", trial, None).checkpoint).parent.parent == place, name
    for command in (["explain", "runs/s"], ["sample", "runs/s", "--count", "1", "--output", "drawn"]):
        done = dualsweep_here(*command, folder=tmp_path)
        assert (done.returncode, done.stdout.splitlines()[0].partition(":")[0]) == (0, str(place)), done.stderr


def test_from_python_it_is_the_same(here: Path) -> None:
    loaded = ds.load("runs/s")
    assert isinstance(loaded, ds.Swept)
    assert loaded.export(here / "swept", trial=1) == here / "swept"
    assert loaded.run(1).export(here / "run") == here / "run"
    assert weights(here / "swept") == weights(here / "run")


def test_a_trial_of_a_sweep_behind_a_uri_is_exported_from_what_this_machine_has_of_the_sweep(here: Path) -> None:
    """Its checkpoints are behind the URI alone, so that no folder of the trial is here."""
    copy = shutil.copytree("runs/s", here / "copy", ignore=shutil.ignore_patterns("trials"))
    written = checkpoint_of(Path(), "0001")
    there = f"memory://bucket/{here.name}/trials/0001/checkpoints/{Path(written).name}"
    filesystem(there)[0].put(written, there, recursive=True)
    result = copy / "artifacts" / "0001" / "result.json"
    result.write_text(json.dumps(json.loads(result.read_text()) | {"checkpoint": there}))
    loaded, trial = ds.load(copy), ds.load(copy / "trials" / "0001")
    assert isinstance(loaded, ds.Swept) and isinstance(trial, ds.Run)
    export(written, str(here / "command"))
    loaded.export(here / "swept", trial=1)
    trial.export(here / "run")
    assert weights(here / "command") == weights(here / "swept") == weights(here / "run")
    assert all("| four |" in (here / name / "README.md").read_text() for name in ("swept", "run"))
    with pytest.raises(InputError, match="must be a training that has a checkpoint, but got"):
        export(str(copy / "trials" / "0009"), str(here / "none"))


def test_a_run_in_mlflow_by_its_id_and_by_its_name(here: Path) -> None:
    uri = "sqlite:///mlflow.db"
    client = MlflowClient(uri)
    runs = client.search_runs([each.experiment_id for each in client.search_experiments()])
    run = next(each for each in runs if each.data.tags.get("dualsweep.trial") == "0001")
    export(str(run.info.run_id), str(here / "by-id"), tracking_uri=uri)
    export(str(run.info.run_name), str(here / "by-name"), tracking_uri=uri)
    export("runs/s", str(here / "by-trial"), trial="1")
    assert weights(here / "by-id") == weights(here / "by-trial") == weights(here / "by-name")
    other = next(each for each in runs if each.data.tags.get("dualsweep.trial") == "0000")
    client.set_tag(other.info.run_id, "mlflow.runName", str(run.info.run_name))
    with pytest.raises(InputError, match="2 runs have that name: give one by its id"):
        export(str(run.info.run_name), str(here / "which"), tracking_uri=uri)


@pytest.mark.parametrize("given", ["option", "variable"])
def test_the_command_that_downloads_a_pipeline_from_mlflow_works_where_it_is_pasted(
    given: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"sqlite:///{Path.cwd()}/mlflow.db"
    client = MlflowClient(uri)
    runs = client.search_runs([each.experiment_id for each in client.search_experiments()])
    run_id = next(str(run.info.run_id) for run in runs if client.list_artifacts(run.info.run_id, "model/data/pipeline"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    if given == "variable":
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    trials = Path("runs/s/trials").absolute()
    trials.rename(trials.with_name("gone"))
    try:
        with pytest.raises(InputError) as refused:
            export(run_id, str(here / "out"), tracking_uri=uri if given == "option" else None)
    finally:
        trials.with_name("gone").rename(trials)
    command = str(refused.value).rpartition("such a pipeline already: ")[2]
    assert command.startswith("mlflow ") == (given == "variable")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        f"{command} -d got", shell=True, cwd=here, capture_output=True, text=True, check=False, env={**os.environ, "PATH": path}
    )
    assert done.returncode == 0 and len(list(here.glob("got/**/model_index.json"))) == 1, done


def test_an_interrupted_training_is_exported_without_verdicts(here: Path) -> None:
    shutil.copytree("runs/s/trials/0000/checkpoints", here / "alone/checkpoints")
    assert "there are no verdicts on it" in carded(here / "alone", here / "out")


def test_where_the_delivered_checkpoint_is_gone_the_newest_is_taken_and_said(here: Path) -> None:
    run = here / "run"
    shutil.copytree("runs/s/artifacts/0000", run)
    shutil.copytree("runs/s/trials/0000/checkpoints", run / "checkpoints")
    result = json.loads((run / "result.json").read_text())
    assert "| four |" in carded(run, here / "whole")  # it was moved, and is found where it lies now
    (run / "result.json").write_text(json.dumps(result | {"checkpoint": "/nowhere/step-00000099"}))
    (first, *_) = export(str(run), str(here / "newest"))
    (there,) = (run / "checkpoints").iterdir()
    assert first == f"the checkpoint that was delivered, step-00000099, is not there: this is {there}"
    assert "there are no verdicts on it" in (here / "newest" / "README.md").read_text()


def carded(run: Path, out: Path) -> str:
    """The card of a run."""
    export(str(run), str(out))
    return (out / "README.md").read_text()


@pytest.mark.parametrize(
    ("run", "out", "options", "said"),
    [
        ("runs/none", "out", {}, "RUN: must be a training that has a checkpoint, but got 'runs/none'"),
        ("runs", "out", {}, "RUN: must be a training that has a checkpoint, but got '/"),
        ("runs/s", "out", {"trial": "9"}, "--trial: must be a trial of the sweep that has ended, but got '9' for"),
        ("runs/s/trials/0000", "out", {"trial": "0"}, "--trial: must go with a sweep's output folder"),
        ("runs/s", "full", {}, "OUT: must be a folder that is not there yet, or is empty, but got"),
        ("runs/s", "full/file", {}, "OUT: must be a folder that is not there yet, or is empty, but got"),
        ("runs/s", "memory://out", {}, "OUT: must be a folder of this machine, but got 'memory://out'"),
        ("runs/s", "/proc/out", {}, "OUT: "),
        ("runs/s", "out", {"trial": "0", "multipliers": "four=1"}, "--multipliers: must go with an amortised run"),
    ],
)
def test_mistakes_are_told_and_nothing_is_written(run: str, out: str, options: dict[str, Any], said: str, here: Path) -> None:
    (here / "full").mkdir()
    (here / "full" / "file").write_text("mine")
    with pytest.raises(InputError) as refused:
        export(run, out if ":" in out or out.startswith("/") else str(here / out), **options)
    assert said in str(refused.value)
    assert [each.name for each in here.iterdir()] == ["full"] and [each.name for each in (here / "full").iterdir()] == ["file"]


def test_a_damaged_checkpoint_leaves_nothing_behind(here: Path) -> None:
    copied = here / "run"
    shutil.copytree("runs/s/trials/0000/checkpoints", copied / "checkpoints")
    (weight_file,) = copied.rglob("unet/*.safetensors")
    content = bytearray(weight_file.read_bytes())
    content[-1] ^= 1
    weight_file.write_bytes(bytes(content))
    (here / "to").mkdir()
    with pytest.raises(TrainingError, match=r"a checkpoint's files must be as they were written, but got unet/"):
        export(str(copied), str(here / "to" / "out"))
    assert list((here / "to").iterdir()) == []


def test_the_card_of_an_amortised_model_tells_what_was_measured_at_other_multipliers(tmp_path: Path) -> None:
    run, out = tmp_path / "run", tmp_path / "out"
    result = train(amortised(train={"steps": 5}, evaluation={"samples": 0}), run)
    export(str(run), str(out), multipliers="four=0.3")
    card = (out / "README.md").read_text()
    assert "is taken here at: four 0.3. " in card and 'multipliers={"four": 0.3}).images' in card
    points = front_of(str(result.checkpoint)).points
    rows = [
        line for line in card.partition("| multiplier of four | multiplier of five | objective | ")[2].splitlines()[2:] if line
    ]
    assert len(points) > 1 and rows[: len(points)] == [
        f"| {point.multipliers['four']:.4g} | {point.multipliers['five']:.4g} "
        f"| {point.objective:.4g} ± {point.objective_error:.2g} "
        f"| {point.values['four']:.4g} ± {point.value_errors['four']:.2g} "
        f"| {point.values['five']:.4g} ± {point.value_errors['five']:.2g} |"
        for point in points
    ]


def test_figures_of_an_amortised_training_are_told_to_be_at_its_own_multipliers_where_others_are_taken(tmp_path: Path) -> None:
    run = tmp_path / "run"
    recipe = amortised(train={"steps": 5}, evaluation={"samples": 8, "sample_steps": 2, "judge": {"epochs": 1}})
    result = train(recipe, run)
    write(Explained.of("run", [], result, recipe), run)
    own = front_of(str(result.checkpoint)).last
    same = ",".join(f"{name}={value!r}" for name, value in own.items())
    asked = {"own": None, "same": same, "others": "four=0.3", "none": "four=0"}
    said = {name: export(str(run), str(tmp_path / name), multipliers=each)[0] for name, each in asked.items()}
    cards = {name: (tmp_path / name / "README.md").read_text() for name in asked}
    told = f"at the recipe's multipliers, {', '.join(f'{name} {value:.4g}' for name, value in own.items())}"
    assert [name for name, card in cards.items() if f"## Constraints {told}\n" in card] == ["others", "none"]
    assert [name for name, card in cards.items() if "## Measured of its samples at the recipe's multipliers\n" in card] == [
        "others", "none"
    ]  # fmt: skip
    assert [name for name, card in cards.items() if "## Constraints\n" in card] == ["own", "same"]
    assert [name for name, card in cards.items() if "samples as the model was evaluated" in card] == ["own", "same"]
    assert [name for name, line in said.items() if "as it was evaluated" in line] == ["own", "same"]


def test_an_exported_amortised_model_is_bound_to_the_multipliers_that_were_asked(tmp_path: Path) -> None:
    run, out = tmp_path / "run", tmp_path / "out"
    train(amortised(train={"steps": 5}, evaluation={"samples": 0}), run)
    export(str(run), str(out), multipliers="four=0.3")
    pipeline = DiffusionPipeline.from_pretrained(str(out), custom_pipeline=str(out), trust_remote_code=True)
    taken, given = (
        pipeline(2, generator=torch.Generator().manual_seed(0), output_type="pt", multipliers=each).images
        for each in (None, {"four": 0.3})
    )
    torch.testing.assert_close(taken, given)
