"""Measuring inside the workers of a Ray Train run."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Any

from dualsweep.trainer.recipe.recipe import Recipe

#: Seconds a step by case, a round each.
Times = dict[str, list[float]]


def measured(worker: Callable[[dict[str, Any]], None], workers: int, recipe: Recipe, config: dict[str, Any]) -> Times:
    """What rank 0 of so many workers of one core reports: each runs `worker(config)` with the `slot` of a training."""
    import ray
    from ray.train import RunConfig, ScalingConfig, UserCallback
    from ray.train.torch import TorchTrainer
    from ray.util.queue import Queue

    from dualsweep.trainer.ray_shell.job import job_for
    from dualsweep.trainer.ray_shell.slot import start_actor

    class Take(UserCallback):
        def __init__(self, queue: Queue) -> None:
            self.queue = queue

        def after_report(self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Any) -> None:
            self.queue.put(metrics[0])

    queue = Queue(actor_options={"num_cpus": 0})
    slot = start_actor()
    ray.get(slot.give.remote(job_for(recipe, tempfile.mkdtemp())))
    run = RunConfig(storage_path=tempfile.mkdtemp(), callbacks=[Take(queue)])  # type: ignore[list-item]  # Ray takes its own kind
    scaling = ScalingConfig(num_workers=workers, resources_per_worker={"CPU": 1})
    TorchTrainer(worker, train_loop_config={"slot": slot, **config}, scaling_config=scaling, run_config=run).fit()
    times: Times = queue.get(timeout=10)
    return times
