"""What a slot's workers do: one training after another, until there are no more.

Processes, imports and the process group stay, so that the start of a training costs no more than to be handed it.
"""

from __future__ import annotations

import ctypes
import gc
import sys
import time
from typing import Any

import ray
import ray.train

from dualsweep.trainer.config.masking import masked
from dualsweep.trainer.ray_shell.job import TRAINING, Job
from dualsweep.trainer.ray_shell.own_modules import OwnModules
from dualsweep.trainer.ray_shell.slot_actor import Left

#: Seconds that a training waits for a store that does not answer, where it can't go on without it: at its start and at its end.
STORE_PATIENCE = 600.0


def work(config: dict[str, Any]) -> None:
    """Runs in each Ray Train worker, for the slot's life; `config["slot"]` is its actor.

    An error of a training is one of the slot: other workers may wait for this one, and what a library was in the middle of is
    not known.
    """
    slot, own = config["slot"], OwnModules()
    context = ray.train.get_context()
    rank, world = context.get_world_rank(), context.get_world_size()
    number = 0
    while (job := ray.get(slot.training.remote(number))) is not None:
        left = Left(number, edited=own.edited())
        if not left.edited:
            started = time.time()
            paused = _train(job, slot, number)
            own.note(started)
            left = Left(number, _memory(), paused=paused)
            if number == 0:
                gc.freeze()  # modules and all else that stays: no later collection looks through it again
        ray.get(slot.leave.remote(rank, world, left))
        number += 1


def _train(job: Job, slot: Any, number: int) -> bool:
    """One training; returns at its end, or where it was asked to end; whether it was to leave, and goes on elsewhere.

    Heavy imports stay here: others do without them.
    """
    import torch

    from dualsweep.trainer.checkpoint import CheckpointFolder
    from dualsweep.trainer.engine.dual_side import controller_of
    from dualsweep.trainer.engine.worker import run_worker
    from dualsweep.trainer.errors import TrainingPaused, TrainingStopped
    from dualsweep.trainer.patient_files import wait_for_stores
    from dualsweep.trainer.ray_shell.host import TrainHost
    from dualsweep.trainer.recipe.recipe import Recipe
    from dualsweep.trainer.trust import trust_all

    print(f"{TRAINING} {masked(job.output)}", flush=True)  # one log has one training after another
    trust_all(job.trust)
    wait_for_stores(STORE_PATIENCE)
    torch.set_num_threads(job.threads)
    recipe = Recipe.model_validate(job.recipe)
    checkpoints = CheckpointFolder(job.checkpoints, recipe.checkpoint.keep)
    try:
        host = TrainHost(slot, number, controller_of(recipe), checkpoints, job.output)
        try:
            run_worker(recipe, host, job.output, job.judges or None)
        finally:
            host.end()
    except (TrainingStopped, TrainingPaused) as left:
        checkpoints.flush()
        return isinstance(left, TrainingPaused)
    return False


def _memory() -> int:
    """Bytes that this process holds once what the training left is freed: resident, and on the device."""
    import psutil
    import torch

    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)  # or what is free here and there counts as held
    on_device = 0
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        on_device = torch.cuda.memory_reserved()
    return int(psutil.Process().memory_info().rss) + on_device
