"""The amortised training of a sweep: one network for its whole front, trained before the trials and reviewed beside them."""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from dualsweep.sweeps.journal import Journal
from dualsweep.sweeps.mirrored.mirror import Driven
from dualsweep.sweeps.planning.plan import Plan
from dualsweep.sweeps.progress import Progress
from dualsweep.sweeps.report_listener import ReportListener, nobody
from dualsweep.sweeps.tracking.tracker import Tracker
from dualsweep.trainer.amortised.front import FILE
from dualsweep.trainer.config import yaml_core
from dualsweep.trainer.errors import TrainingInterrupted
from dualsweep.trainer.metric_point import MetricPoint
from dualsweep.trainer.ray_shell.job import result_in
from dualsweep.trainer.ray_shell.launch import train_checked
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.result import Result
from dualsweep.trainer.storage import RESULT, read_file, write_file

NAME = "amortised"
#: What of its output goes to its run in MLflow.
_SHOWN = (FILE, RESULT, "samples.png", "notes.txt")
Train = Callable[..., Result]


def place_of(output: str) -> str:
    """Where the amortised training of a sweep writes; `output` is the sweep's."""
    return posixpath.join(output, NAME)


def is_waiting(plan: Plan, output: str, tracker: Tracker) -> bool:
    """Whether the sweep has an amortised training that has not ended, or of whose end its run does not know."""
    return plan.amortised_recipe is not None and (tracker.amortised_is_open or result_in(place_of(output)) is None)


def ended_in(plan: Plan, output: str) -> Result | None:
    """How the sweep's amortised training ended, where it has one that did."""
    return result_in(place_of(output)) if plan.amortised_recipe is not None else None


def run_amortised(
    plan: Plan, output: str, driven: Driven, tracker: Tracker, console: Console, training: Train = train_checked,
    listener: ReportListener | None = None, journal: Journal | None = None,
) -> Result:  # fmt: skip
    """Trains it, or goes on with it, on the Ray that this process is connected to; how it ended is told, and is in its run.

    `journal` is the sweep's, in which it is one more training.

    A failure is no reason not to run the trials.

    Raises:
        InputError: the output holds one with other settings.
    """
    recipe = plan.amortised_recipe
    assert recipe is not None
    spool = tracker.amortised(recipe)
    console.print(f"first one training of {recipe.train.steps} steps for the amortised front", highlight=False, soft_wrap=True)
    with Progress(console, total=1, journal=journal) as progress:
        progress.started(NAME)

        def take(payload: dict[str, Any]) -> bool:
            (listener or ReportListener(nobody)).hear(NAME, payload)
            progress.reported(NAME, payload)
            for point in map(MetricPoint.from_json, payload["points"]):
                spool.point(point.step, point.metrics, int(point.time * 1000), final=point.final)
            return spool.sync() and driven.push()

        try:
            result = training(recipe, place_of(output), take)
        except (KeyboardInterrupt, SystemExit, TrainingInterrupted):
            tracker.end_amortised("interrupted", "the sweep was interrupted; the same command continues")
            raise
        if result.metrics and result.status != "failed":  # a kill may have come between its result and its last report
            spool.point(result.steps, result.metrics, final=True)
        progress.ended(NAME, result.status, result.reason, result.seconds)
    for path in _brought(recipe, output, driven.folder / "artifacts" / NAME):
        spool.artifact(path)
    tracker.end_amortised(result.status, result.reason)
    return result


def _brought(recipe: Recipe, output: str, shown: Path) -> list[Path]:
    """Writes into `shown` what of the training's output goes to its run in MLflow; returns the files."""
    shown.mkdir(parents=True, exist_ok=True)
    write_file(shown / "recipe.yaml", yaml_core.write(recipe.model_dump(mode="json")))
    for file in _SHOWN:
        content = read_file(place_of(output), file)
        if content is not None:
            write_file(shown / file, content)
    return sorted(shown.iterdir())
