"""A whole continued sweep through the runner, trained in this process, with a kill in its midst; MLflow has the lineage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from rich.console import Console

from dualsweep.analysis.reading import read_sweep
from dualsweep.sweeps.planning.load import load_plan
from dualsweep.sweeps.progress import Progress
from dualsweep.sweeps.records.trial_record import TrialRecord
from dualsweep.sweeps.runner import Runner
from dualsweep.sweeps.studies.study import Study
from dualsweep.sweeps.tracking.tracker import Tracker
from dualsweep.trainer.checkpoint import CheckpointFolder
from dualsweep.trainer.dual.coordinator import InProcess
from dualsweep.trainer.engine.dual_side import controller_of
from dualsweep.trainer.engine.host import LocalHost
from dualsweep.trainer.engine.worker import run_worker
from dualsweep.trainer.metric_point import Payload
from dualsweep.trainer.recipe.recipe import Recipe
from tests.stores import empty_store

RECIPE: dict[str, Any] = {
    "name": "tiny", "formulation": "constrained_training", "model": {"unet": {"channels": [8, 16]}},
    "schedule": {"timesteps": 50}, "data": {"source": "digits"},
    "constraints": [{"name": "four", "data": {"classes": [4]}, "at_most": 0.3}],
    "train": {"steps": 20, "batch_size": 16, "log_every": 5}, "evaluation": {"samples": 0, "loss_draws": 64},
}  # fmt: skip


class Killed(Exception):
    pass


class Reporting(LocalHost):
    """Hands each report on at once."""

    def report(self, payload: Payload) -> None:
        self.take(payload)

    take: Any = None


def sweep(folder: Path, kill_at: int | None = None) -> list[str]:
    """Runs the sweep of `folder`, or goes on with it; killed when trial `kill_at` has begun. What each trial started from."""
    plan = load_plan(folder / "sweep.yaml")
    out, starts = folder / "out", []
    with Study(plan, out) as study:
        tracker = Tracker(plan, out, lambda text: None)
        try:
            with Progress(Console(quiet=True), plan.trials, 1, study.finished) as progress:
                runner = Runner(plan, study, tracker, progress, str(out), out)
                while (following := runner.next()) is not None:
                    run, job = following
                    runner.started(run)
                    recipe = Recipe.model_validate(job.recipe)
                    starts.append(recipe.start.place if recipe.start else "")
                    if run.number == kill_at:
                        raise Killed
                    host = Reporting(InProcess(controller_of(recipe)), CheckpointFolder(job.checkpoints))
                    host.take = lambda payload, run=run: runner.reported(run, payload)
                    run_worker(recipe, host, job.output, job.judges)
        finally:
            tracker.close()
    return starts


def test_a_continued_sweep_that_was_killed(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    plain: dict[str, Any] = {
        "name": "s", "recipe": RECIPE, "search": {"constraints.four.at_most": {"uniform": [0.3, 0.6]}}, "trials": 3,
        "continuation": {"steps": 10}, "sampler": "random", "mlflow": {"tracking_uri": empty_store(tmp_path)},
    }  # fmt: skip
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(plain))
    with pytest.raises(Killed):
        sweep(tmp_path, kill_at=2)
    kept = TrialRecord.load_all(tmp_path / "out")
    assert [each.continued_from for each in kept] == [None, "0000"]
    assert [each.result.steps for each in kept] == [20, 10]
    [start] = sweep(tmp_path)  # the third alone
    records = TrialRecord.load_all(tmp_path / "out")
    neighbour = records[2].continued_from
    assert neighbour in ("0000", "0001") and start == records[int(neighbour)].result.checkpoint
    lineage = {each.trial_id: each.continued_from for each in read_sweep(plain["mlflow"]["tracking_uri"], "s").trials}
    assert lineage == {"0000": None, "0001": "0000", "0002": neighbour}
    verdicts = json.loads((tmp_path / "out" / "artifacts" / "0002" / "result.json").read_text())
    assert verdicts["steps"] == 10 and verdicts["constraints"]["four"]["multiplier"] >= 0
