"""One training on Ray: N Ray Train workers, one coordinator actor, results through reports. `train` is the Python entry."""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import ray
import ray.train
from ray.exceptions import RayError
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.v2.api.exceptions import WorkerGroupError

from dualsweep.trainer.checks.recipe import check_recipe
from dualsweep.trainer.config.diagnostics import Diagnostic, InputError
from dualsweep.trainer.engine.dual_side import controller_of
from dualsweep.trainer.engine.host import Payload
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.ray_shell.tracebacks import error_in
from dualsweep.trainer.ray_shell.training_handle import Training, follow, whole
from dualsweep.trainer.recipe.feasibility import Feasibility
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.recipe.run import Resources
from dualsweep.trainer.result import Result, failed
from dualsweep.trainer.storage import RESULT, is_local, local_path, read_file, write_files


@dataclass(frozen=True)
class Job:
    """What every worker is handed: plain data only, so that it travels to any node."""

    recipe: dict[str, Any]
    output: str
    checkpoints: str
    judges: str
    threads: int


def job_for(recipe: Recipe, output: str, judges: str | None = None, name: str | None = None) -> Job:
    """`output` is a folder or fsspec URI; checkpoints lie beneath it unless the recipe sends them elsewhere.

    There they are called `name`, by default the last part of the output's.
    """
    output = str(local_path(output)) if is_local(output) else output
    to = recipe.checkpoint.to
    # A shared place keeps runs apart by their recipes too: a run must never go on from another's checkpoint.
    own = f"{name or posixpath.basename(output.rstrip('/'))}-{fingerprint(recipe)}"
    checkpoints = posixpath.join(to, own) if to else posixpath.join(output, "checkpoints")
    folder = judges or (posixpath.join(output, "judges") if is_local(output) else "")
    return Job(recipe.model_dump(), output, checkpoints, folder, recipe.resources.cpus_per_worker)


def fingerprint(recipe: Recipe) -> str:
    """What must be the same for a run to be continued: all that decides its numbers."""
    return _digest(_deciding(recipe))


def _fingerprint_of_0_1(recipe: Recipe) -> str:
    """What 0.1 marked a run of this recipe with: it wrote its own default where None stands since."""
    plain = _deciding(recipe)
    for section, key, default in (("evaluation", "sample_steps", 50), ("rollout", "normalization_samples", 1024)):
        plain[section][key] = default if plain[section][key] is None else plain[section][key]
    return _digest(plain)


def _deciding(recipe: Recipe) -> dict[str, Any]:
    unasked = {"start"} if recipe.start is None else set()  # runs from before there were these keys go on
    unasked |= {"feasibility"} if recipe.feasibility == Feasibility() else set()
    return recipe.model_dump(mode="json", exclude={"resources", "checkpoint"} | unasked)


def _digest(plain: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]


def _worker(config: dict[str, Any]) -> None:
    """Runs in each Ray Train worker. Heavy imports stay here: driver and trial processes do without them."""
    import torch

    from dualsweep.trainer.checkpoint import CheckpointFolder
    from dualsweep.trainer.engine.worker import run_worker
    from dualsweep.trainer.ray_shell.host import TrainHost

    job: Job = config["job"]
    torch.set_num_threads(job.threads)
    recipe = Recipe.model_validate(job.recipe)
    host = TrainHost(config["coordinator"], CheckpointFolder(job.checkpoints, recipe.checkpoint.keep))
    run_worker(recipe, host, job.output, job.judges or None)


def run_on_ray(job: Job, storage: str, callbacks: Sequence[Any]) -> None:
    """Trains `job`, starting again from its checkpoint when a worker or the coordinator dies, `retries` times.

    An error of the code that comes again is one that every attempt ends with, as runs repeat exactly. What went on is learned
    through `callbacks`; the result is the last report's.

    Raises:
        TrainingError: with a reason that trying again won't fix.
        ray.train.TrainingFailedError: the workers kept dying.
    """

    from dualsweep.trainer.ray_shell.host import start_coordinator

    recipe = Recipe.model_validate(job.recipe)
    coordinator = start_coordinator(controller_of(recipe))
    try:
        _attempts(job, recipe, storage, coordinator, callbacks)
    finally:
        ray.kill(coordinator)  # now, and not when Python collects it


def _attempts(job: Job, recipe: Recipe, storage: str, coordinator: Any, callbacks: Sequence[Any]) -> None:
    retries, before = recipe.resources.retries, ""
    for attempt in range(retries + 1):
        trainer = TorchTrainer(
            _worker,
            train_loop_config={"job": job, "coordinator": coordinator},
            torch_config=TorchConfig(),
            scaling_config=_scaling(recipe.resources),
            run_config=RunConfig(
                name=f"attempt-{attempt}-{time.time_ns()}",
                storage_path=storage,
                callbacks=[*callbacks],
                failure_config=FailureConfig(0),
            ),
        )
        try:
            trainer.fit()
            return
        except WorkerGroupError as error:
            for failure in error.worker_failures.values():
                cause = failure if isinstance(failure, TrainingError) else failure.__cause__
                if isinstance(cause, TrainingError):
                    raise TrainingError(str(cause)) from None
            said = error_in(whole(error))
            again = said == before and not any(isinstance(each, RayError) for each in error.worker_failures.values())
            if attempt == retries or again:
                raise
            before = said


def _scaling(resources: Resources) -> ScalingConfig:
    per_worker: dict[str, float] = {"CPU": resources.cpus_per_worker}
    if resources.gpus_per_worker:
        per_worker["GPU"] = resources.gpus_per_worker
    return ScalingConfig(num_workers=resources.workers, use_gpu=resources.gpus_per_worker > 0, resources_per_worker=per_worker)


def start(job: Job) -> Training:
    """Starts `job` on Ray, to be followed."""
    return Training(lambda callbacks: run_on_ray(job, posixpath.join(job.output, "ray"), callbacks), job.output)


def train(recipe: Recipe, output: str | None = None, on_report: Callable[[Payload], None] = lambda payload: None) -> Result:
    """Trains one recipe on Ray (the cluster this process is connected to, else a local one) and returns how it ended.

    The same call again continues an interrupted run from its last checkpoint, and returns a finished one's result.
    `output` is a folder or fsspec URI, runs/NAME unless given. `on_report` is called in this thread with every report of
    rank 0: {step, steps, seconds, points, …}.

    Raises:
        InputError: the recipe's data, models or the user's parts are wrong, with every mistake found, before anything starts;
            or `output` holds a run of another recipe.
    """
    place = job_for(recipe, output or f"runs/{recipe.name}").output
    if read_file(place, "fingerprint") is None:  # a run that began was checked then
        check_recipe(recipe)
    return train_checked(recipe, place, on_report)


def train_checked(recipe: Recipe, output: str, on_report: Callable[[Payload], None] = lambda payload: None) -> Result:
    """`train` of a recipe that was checked, as the commands do before they connect.

    Raises:
        InputError: `output` holds a run of another recipe.
    """
    job = job_for(recipe, output)
    done = claim(job.output, recipe)
    if done is not None:
        return done
    ours = not ray.is_initialized()
    if ours:
        os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.1")  # how often reports are fetched; 2 s by default
        ray.init(address="local", include_dashboard=True, log_to_driver=False)
    try:
        return _followed(job, on_report)
    finally:
        if ours:
            ray.shutdown()


def _followed(job: Job, on_report: Callable[[Payload], None]) -> Result:
    started = time.monotonic()
    last: Payload = {"step": 0}

    def take(payload: Payload) -> None:
        last.update(payload)
        on_report(payload)

    reason = "the workers ended without a result"
    try:
        follow(start(job), take)
    except TrainingError as error:
        reason = str(error)
    if last.get("result"):
        return Result.from_json(last["result"])
    return result_in(job.output) or failed(reason, last["step"], time.monotonic() - started)


def claim(output: str, recipe: Recipe) -> Result | None:
    """Marks `output` as this recipe's; returns the result where the run there is finished.

    Raises:
        InputError: another recipe's run is there.
    """
    mark = read_file(output, "fingerprint")
    if mark is None:
        write_files(output, {"fingerprint": fingerprint(recipe).encode()})
        return None
    if mark.decode() not in (fingerprint(recipe), _fingerprint_of_0_1(recipe)):
        rule, remedy = "must be empty or hold a run of the same recipe", "choose another --output, or delete that folder"
        raise InputError([Diagnostic(("--output",), rule, f"{output} with another recipe's run", remedy, "command line", 1)])
    return result_in(output)


def result_in(output: str) -> Result | None:
    """The result of the run in `output`, where it has ended."""
    content = read_file(output, RESULT)
    return Result.from_json(json.loads(content)) if content else None
