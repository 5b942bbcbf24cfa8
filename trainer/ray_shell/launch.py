"""One training on Ray: N Ray Train workers, one coordinator actor, results through reports. `train` is the Python entry."""

from __future__ import annotations

import time

import ray

from dualsweep.trainer.checks.recipe import check_recipe
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.metric_point import Payload
from dualsweep.trainer.ray_shell.job import MARK, Job, claim, job_for, result_in
from dualsweep.trainer.ray_shell.training_handle import OnReport, follow
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.result import Result, failed
from dualsweep.trainer.storage import read_file


def train(recipe: Recipe, output: str | None = None, on_report: OnReport = lambda payload: None) -> Result:
    """Trains one recipe on Ray (the cluster this process is connected to, else a local one) and returns how it ended.

    The same call again continues an interrupted run from its last checkpoint, and returns a finished one's result.
    `output` is a folder or fsspec URI, runs/NAME unless given. `on_report` is called in this thread with every report of
    rank 0: {step, steps, seconds, points, …}. Where it answers False, it has not kept the points: while it does, the training
    has no end, and after a kill the same call reports them again.

    Raises:
        InputError: the recipe's data, models or the user's parts are wrong, with every mistake found, before anything starts;
            or `output` holds a run of another recipe.
        TrainingInterrupted: its processes died more often than it is started again; the same call continues it.
    """
    place = job_for(recipe, output or f"runs/{recipe.name}").output
    if read_file(place, MARK) is None:  # a run that began was checked then
        check_recipe(recipe)
    return train_checked(recipe, place, on_report)


def train_checked(recipe: Recipe, output: str, on_report: OnReport = lambda payload: None) -> Result:
    """`train` of a recipe that was checked, as the commands do before they connect.

    Raises:
        InputError: `output` holds a run of another recipe.
        TrainingInterrupted: as `train` does.
    """
    job = job_for(recipe, output)
    done = claim(job.output, recipe)
    if done is not None:
        return done
    ours = not ray.is_initialized()
    if ours:
        ray.init(address="local", include_dashboard=True, log_to_driver=False)
    try:
        return _followed(job, on_report)
    finally:
        if ours:
            ray.shutdown()


def _followed(job: Job, on_report: OnReport) -> Result:
    started = time.monotonic()
    last: Payload = {"step": 0}

    def take(payload: Payload) -> bool | None:
        last.update(payload)
        return on_report(payload)

    reason = "its workers ended without a result"
    try:
        follow(job, take)
    except TrainingError as error:
        reason = str(error)
    if last.get("result"):
        return Result.from_json(last["result"])
    return result_in(job.output) or failed(reason, last["step"], time.monotonic() - started)
