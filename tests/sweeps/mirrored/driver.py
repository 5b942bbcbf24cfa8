"""A driver in a process of its own that needs no Ray: `python -m tests.sweeps.mirrored.driver FOLDER PLACE [KILL_AT]`.

It runs the sweep of FOLDER as `dualsweep sweep --output PLACE` does, with its trainings in this process, and kills itself with
SIGKILL at the report number KILL_AT.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console

from dualsweep.sweeps.mirrored.driving import driving
from dualsweep.sweeps.planning.load import load_plan
from dualsweep.sweeps.progress import Progress
from dualsweep.sweeps.runner import Runner
from dualsweep.sweeps.studies.study import Study
from dualsweep.sweeps.tracking.tracker import Tracker
from dualsweep.sweeps.trials.runs import Run
from dualsweep.trainer.checkpoint import CheckpointFolder
from dualsweep.trainer.dual.coordinator import InProcess
from dualsweep.trainer.engine.dual_side import controller_of
from dualsweep.trainer.engine.host import LocalHost
from dualsweep.trainer.engine.worker import run_worker
from dualsweep.trainer.metric_point import Payload
from dualsweep.trainer.patient_files import wait_for_stores
from dualsweep.trainer.ray_shell.worker import STORE_PATIENCE
from dualsweep.trainer.recipe.recipe import Recipe


class Acknowledged(LocalHost):
    """Hands each report on at once, and knows of each point that it is kept no sooner than the driver says so."""

    take: Callable[[Payload], int]

    def report(self, payload: Payload) -> int:
        return self.take(payload)


def drive(folder: Path, place: str, kill_at: int | None = None) -> None:
    torch.set_num_threads(1)
    wait_for_stores(STORE_PATIENCE)
    plan, reports = load_plan(folder / "sweep.yaml"), itertools.count()
    with driving(place, print) as driven, Study(plan, driven.folder) as study:
        tracker = Tracker(plan, driven.folder, print)
        with Progress(Console(quiet=True), plan.trials, 1, study.finished) as progress:
            runner = Runner(plan, study, tracker, progress, place, driven)
            while (following := runner.next()) is not None:
                run, job = following
                runner.started(run)
                recipe = Recipe.model_validate(job.recipe)
                host = Acknowledged(InProcess(controller_of(recipe)), CheckpointFolder(job.checkpoints))

                def take(payload: Payload, run: Run = run) -> int:
                    if next(reports) == kill_at:
                        os.kill(os.getpid(), signal.SIGKILL)
                    runner.reported(run, payload)
                    kept = runner.kept(run, {**payload, "of": run.name})
                    return max((each["made"] for each in kept if each["of"] == run.name), default=0)

                host.take = take
                run_worker(recipe, host, job.output, job.judges)
        tracker.close()


if __name__ == "__main__":
    drive(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else None)
