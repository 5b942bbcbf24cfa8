"""Whole small sweeps through the runner, trained in this process: seconds, and no Ray."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import torch
import yaml
from rich.console import Console

from dualsweep.sweeps.mirrored.mirror import Here
from dualsweep.sweeps.planning.load import load_plan
from dualsweep.sweeps.progress import Progress
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
from tests.sweeps.here import dualsweep_here

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


def sweep(folder: Path, kill_at: int | None = None, output: str = "out") -> list[str]:
    """Runs the sweep of `folder`, or goes on with it; killed when trial `kill_at` has begun. What each trial started from."""
    plan = load_plan(folder / "sweep.yaml")
    out, starts = folder / output, []
    with Study(plan, out) as study:
        tracker = Tracker(plan, out, lambda text: None)
        try:
            with Progress(Console(quiet=True), plan.trials, 1, study.finished) as progress:
                runner = Runner(plan, study, tracker, progress, str(out), Here(out))
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


def finished(folder: Path, **keys: Any) -> Path:
    """A working directory with `sweep.yaml`, of which `dualsweep sweep` has nothing left to train, and its `mlflow.db`."""
    torch.set_num_threads(1)
    plain: dict[str, Any] = {
        "name": "s", "recipe": RECIPE, "search": {"constraints.four.at_most": {"uniform": [0.3, 0.6]}}, "trials": 3,
        "sampler": "random", "mlflow": {"tracking_uri": "sqlite:///mlflow.db"}, **keys,
    }  # fmt: skip
    empty_store(folder)
    (folder / "sweep.yaml").write_text(yaml.safe_dump(plain))
    with contextlib.chdir(folder):
        sweep(folder, output="runs/s")
    return folder


def again(folder: Path) -> str:
    """The same command, which finds nothing left to train, and what it says."""
    done = dualsweep_here("sweep", "sweep.yaml", folder=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
