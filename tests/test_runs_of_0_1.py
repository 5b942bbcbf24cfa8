"""Runs, studies, MLflow stores and models of version 0.1 are read and continued (`tests/fixtures/0.1/README.md`)."""

from __future__ import annotations

import gzip
import itertools
import json
import math
import shutil
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from diffusers import UNet2DModel

import dualsweep
from dualsweep.analysis.reading import read_sweep
from dualsweep.analysis.review import review
from dualsweep.analysis.trials import SweepRecord
from dualsweep.sweeps import whole_sweep
from dualsweep.sweeps.planning.load import load_plan
from dualsweep.sweeps.reports.explaining import explain_run
from dualsweep.sweeps.studies.study import Study
from dualsweep.trainer.checkpoint import CheckpointFolder
from dualsweep.trainer.config.diagnostics import InputError
from dualsweep.trainer.dual.coordinator import InProcess
from dualsweep.trainer.dual.state import DualState, SlackReport
from dualsweep.trainer.engine.dual_side import controller_of
from dualsweep.trainer.engine.host import LocalHost
from dualsweep.trainer.engine.sample_command import restore
from dualsweep.trainer.engine.worker import run_worker
from dualsweep.trainer.ray_shell.job import claim, result_in
from dualsweep.trainer.recipe.load import load_recipe
from tests.sweeps.here import dualsweep_here

KEPT = Path(__file__).parent / "fixtures" / "0.1"
FOLDER = b"@FOLDER@"
#: 0.1's mark of the recipe without `evaluation.sample_steps`, for which it then wrote its default of 50.
WITHOUT_SAMPLE_STEPS = "2327e396a0a2958b"


def unpack(folder: Path) -> Path:
    """All of it in `folder`, as if 0.1 had run there."""
    shutil.copytree(KEPT, folder, dirs_exist_ok=True)
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix != ".safetensors":
            path.write_bytes(path.read_bytes().replace(FOLDER, str(folder).encode()))
    dump = gzip.decompress((KEPT / "mlflow.sql.gz").read_bytes()).replace(FOLDER, str(folder).encode())
    database = sqlite3.connect(folder / "mlflow.db")
    database.executescript(dump.decode())
    database.close()
    return folder


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """To be looked at only."""
    return unpack(tmp_path_factory.mktemp("old"))


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """To be worked in."""
    return unpack(tmp_path)


@pytest.fixture(scope="module")
def record(old: Path) -> SweepRecord:
    return read_sweep(f"sqlite:///{old / 'mlflow.db'}", "tiny-sweep")


def trials_of_0_1() -> list[dict[str, Any]]:
    trials: list[dict[str, Any]] = json.loads((KEPT / "results.json").read_text())["trials"]
    return trials


def test_a_result_is_read_and_judged_by_todays_standings(old: Path) -> None:
    kept, result = json.loads((KEPT / "runs/tiny/result.json").read_text()), result_in(str(old / "runs/tiny"))
    assert result is not None and (result.status, result.reason, result.steps) == ("out_of_steps", kept["reason"], 20)
    assert result.objective == kept["objective"] and result.metrics == kept["metrics"]
    for name, outcome in result.constraints.items():
        fields = kept["constraints"][name]
        assert (outcome.value, outcome.slack, outcome.multiplier) == (fields["value"], fields["slack"], fields["multiplier"])
    # four misses 0.3 by 0.43 ± 0.02; five keeps 0.02 by 0.027 ± 0.024, which 0.1 called feasible and is not known now.
    assert {name: each.standing for name, each in result.constraints.items()} == {"four": "violated", "five": "undecided"}
    assert result.feasible == "violated"


def test_a_finished_run_is_its_recipes_and_is_not_trained_again(old: Path) -> None:
    recipe, _ = load_recipe(old / "recipe.yaml")
    result = claim(str(old / "runs/tiny"), recipe)
    assert result is not None and result.steps == 20
    other, _ = load_recipe(old / "recipe.yaml", ["train.lr=0.001"])
    with pytest.raises(InputError, match="another recipe's run"):
        claim(str(old / "runs/tiny"), other)


@pytest.mark.parametrize(("steps", "its_own"), [(None, True), (50, True), (49, False)])
def test_a_default_that_is_another_now_does_not_make_it_another_recipe(steps: int | None, its_own: bool, tmp_path: Path) -> None:
    recipe, _ = load_recipe(KEPT / "recipe.yaml")
    recipe = recipe.model_copy(update={"evaluation": recipe.evaluation.model_copy(update={"sample_steps": steps})})
    (tmp_path / "fingerprint").write_text(WITHOUT_SAMPLE_STEPS)
    if its_own:
        assert claim(str(tmp_path), recipe) is None  # it has not ended
    else:
        with pytest.raises(InputError, match="another recipe's run"):
            claim(str(tmp_path), recipe)


class Counting(InProcess):
    """How many dual steps were taken here."""

    taken = 0

    def exchange(self, report: SlackReport) -> Callable[[], DualState]:
        self.taken += 1
        return super().exchange(report)


#: Six standard deviations, over seeds, of what the steps after the checkpoint come to: a step draws other examples than in 0.1.
#: Untrained weights or a multiplier of 0 are further away.
SPREAD = {"objective": 0.15, "value/four": 0.19, "slack/five": 0.4, "multiplier/four": 0.047}


def test_a_run_that_was_broken_off_goes_on_to_the_end_it_would_have_come_to(own: Path) -> None:
    """From step 10 of 20, whose points are kept as they were."""
    torch.set_num_threads(1)
    recipe, _ = load_recipe(own / "recipe.yaml")
    folder = own / "runs" / "tiny"
    (folder / "result.json").unlink()
    coordinator = Counting(controller_of(recipe))
    host = LocalHost(coordinator, CheckpointFolder(str(folder / "checkpoints")))
    run_worker(recipe, host, str(folder), str(folder / "judges"))
    assert coordinator.taken == 10
    then = {point["step"]: point["metrics"] for point in map(json.loads, (KEPT / "runs/tiny/metrics.jsonl").open())}
    now = {point["step"]: point["metrics"] for report in host.reports for point in report["points"]}
    assert sorted(now) == [5, 10, 15, 20]
    for step, name in itertools.product(now, SPREAD):
        allowed = SPREAD[name] if step > 10 else 0.0
        assert now[step][name] == pytest.approx(then[step][name], rel=0.0, abs=allowed), f"{name} at {step}"


@pytest.mark.parametrize("trial", [None, "0000", "0001"])
def test_verdicts_are_explained_from_a_folder_and_from_mlflow(trial: str | None, old: Path, record: SweepRecord) -> None:
    kept = json.loads(
        (KEPT / ("runs/tiny" if trial is None else f"runs/tiny-sweep/artifacts/{trial}") / "verdicts.json").read_text()
    )
    explained = explain_run(str(old / "runs" / ("tiny" if trial is None else f"tiny-sweep/trials/{trial}")), None)
    for then, now in zip(kept, explained.to_json(), strict=True):
        assert (now["name"], now["evidence"]) == (then["name"], {**now["evidence"], **then["evidence"]})
    if trial is not None:
        [run] = [each.run_id for each in record.trials if each.trial_id == trial]
        assert explain_run(run, f"sqlite:///{old / 'mlflow.db'}").to_json() == explained.to_json()


def test_the_verdict_of_a_violation_is_the_same(old: Path) -> None:
    said = dualsweep_here("explain", "runs/tiny", folder=old)
    assert said.returncode == 0, said.stderr
    assert "violated: slack -0.427 ± 0.02" in said.stdout and "multiplier 0.514" in " ".join(said.stdout.split())


def test_a_sweep_is_read_from_mlflow_as_it_was(record: SweepRecord) -> None:
    assert list(record.objectives.items()) == [("objective", "minimize"), ("value/max", "minimize")]
    assert (record.sampler, record.sampler_seed) == ("random", "1")
    assert [(each.constraints, each.low, each.high) for each in record.budgets] == [(("four", "five"), 0.2, 1.0)]
    for kept, trial in zip(trials_of_0_1(), record.trials, strict=True):
        assert (trial.trial_id, trial.status, trial.reason) == (kept["id"], kept["status"], kept["reason"])
        assert dict(trial.params) == kept["params"] and trial.steps == kept["steps"]
        shared = {name: value for name, value in kept["metrics"].items() if name != "system/seconds" and math.isfinite(value)}
        assert {name: trial.metrics[name] for name in shared} == pytest.approx(shared)
        assert {each.name: each.slack for each in trial.constraints} == pytest.approx(
            {name: each["slack"] for name, each in kept["constraints"].items()}
        )


def test_its_front_is_reviewed(record: SweepRecord, tmp_path: Path) -> None:
    """0001 is better in the objective, 0000 in the largest value; a searched budget that is missed keeps none of them off."""
    made = review(record, tmp_path)
    assert made.front_ids == ("0001", "0000")
    standings = {each.trial_id: each.standing for each in record.trials}
    assert standings == {"0000": "violated", "0001": "undecided"}
    assert len(made.trials_csv.read_text().splitlines()) == 3 and made.front_html.stat().st_size > 1000


def test_the_command_front_rebuilds_it_and_leaves_the_model_that_was_logged(own: Path) -> None:
    done = dualsweep_here("front", "tiny-sweep", "--json", "front.json", folder=own)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((own / "front.json").read_text())["front"] == ["0001", "0000"]
    assert "no model was logged for trial 0000" in done.stdout and "0001:" not in done.stdout


def test_a_finished_sweep_is_done_and_starts_no_ray(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole_sweep, "connect", lambda address, on_loss: pytest.fail("Ray was to start"))
    done = dualsweep_here("sweep", "sweep.yaml", "--json", "again.json", folder=own)
    assert done.returncode == 0, done.stdout + done.stderr
    now, then = json.loads((own / "again.json").read_text())["trials"], trials_of_0_1()
    for name in ("id", "params", "objective", "metrics", "checkpoint"):
        assert [each[name] for each in now] == json.loads(
            json.dumps([each[name] for each in then]).replace(FOLDER.decode(), str(own))
        ), name


def test_a_finished_study_that_is_made_longer_asks_for_what_0_1_would_have(own: Path) -> None:
    plan = load_plan(own / "sweep.yaml", ["trials=3"])
    with Study(plan, own / "runs/tiny-sweep") as study:
        assert study.states == {0: "complete", 1: "complete"} and study.remaining == 1
        asked = study.ask()
    shutil.copy(own / "asked.journal", own / "runs/tiny-sweep/study.journal")
    with Study(plan, own / "runs/tiny-sweep") as study:
        [begun] = study.unfinished()
        assert study.remaining == 0 and begun.number == asked.number == 2
    assert begun.params == pytest.approx(asked.params)


def test_a_study_of_another_search_is_still_refused(own: Path) -> None:
    plan = load_plan(own / "sweep.yaml", ["search={dual.step_size: {log_uniform: [0.01, 0.3]}}"])
    with pytest.raises(InputError, match="must stay as it was when this sweep began"):
        Study(plan, own / "runs/tiny-sweep")


def test_a_model_in_mlflow_gives_samples_of_the_weights_that_were_logged(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [each for each in sys.modules if each.split(".")[0] == "sweeps"]:
        monkeypatch.delitem(sys.modules, name)
    folder = next(old.glob("mlruns/*/*/artifacts/model"))
    assert "loader_module: sweeps.tracking.sampling_model" in (folder / "MLmodel").read_text() and dualsweep.__version__
    model = mlflow.pyfunc.load_model(str(folder))
    samples = model.predict(pd.DataFrame({"count": [2, 1], "seed": [7, 8]}))
    assert samples.shape == (3, 1, 8, 8) and np.isfinite(samples).all() and samples.std() > 0.1
    np.testing.assert_array_equal(samples[:2], model.predict(pd.DataFrame({"count": [2], "seed": [7]})))

    network = UNet2DModel.from_pretrained(folder / "data/checkpoint/unet")
    noisy, steps = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([3, 40])
    restored = restore(str(folder / "data/checkpoint"))
    with torch.no_grad():
        torch.testing.assert_close(restored.predictor(noisy, steps), network(noisy, steps).sample)
