"""Two Ray Train workers of one core each: our loop against bare DistributedDataParallel, in turn in the same processes.

    python -m tests.benchmarks.bench_ddp [--rounds 12] [--steps 20] [--batch 64]

Bare DDP is the same network on the same data and noise schedule with a plain loop: random batch, loss, backward, AdamW; no
constraints, no averaged weights, no clipping, no coordinator. Ours is the shipped recipe whole: three constraints, a dual
step for every five primal steps ([CDM]'s ratio; `--every` for another), averaged weights, clipping. Also prints one worker's
throughput beside two workers', from a run of its own.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable
from typing import Any

from dualsweep.trainer.engine.dual_side import controller_of
from tests.benchmarks.common import digits
from tests.benchmarks.rows import holds


def bare(batch: int) -> Callable[[], object]:
    """A plain DDP step at `batch` samples on this worker."""
    import torch
    from torch.nn.parallel import DistributedDataParallel

    from dualsweep.trainer.data.splits import assemble
    from dualsweep.trainer.models.build import build
    from dualsweep.trainer.models.schedules import noise_schedule
    from tests.benchmarks.common import bare_step

    recipe = digits([])
    data = assemble(recipe)
    schedule = noise_schedule(recipe, data.examples.shape)
    model: Any = build(recipe, data.examples.shape)
    if torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1:
        model = DistributedDataParallel(model)
    return bare_step(model, data, schedule, batch)


def worker(config: dict[str, Any]) -> None:
    """Times both in turn; rank 0 reports seconds a step."""
    import ray.train
    import torch

    from dualsweep.trainer.checkpoint import CheckpointFolder
    from dualsweep.trainer.ray_shell.host import TrainHost
    from tests.benchmarks.common import interleaved, loop_of

    torch.set_num_threads(1)
    batch, world = config["batch"], ray.train.get_context().get_world_size()
    recipe = digits(train={"batch_size": batch * world}, resources={"workers": world}, dual={"every": config["every"]})
    host = TrainHost(config["slot"], 0, controller_of(recipe), CheckpointFolder(tempfile.mkdtemp()))
    loop = loop_of(recipe, host)
    times = interleaved({"bare DDP": bare(batch), "dualsweep": loop.advance}, config["rounds"], config["steps"])
    ray.train.report(times)


def measure(workers: int, options: argparse.Namespace) -> dict[str, list[float]]:
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
    recipe = digits(train={"batch_size": options.batch * workers}, dual={"every": options.every})
    slot = start_actor()
    ray.get(slot.give.remote(job_for(recipe, tempfile.mkdtemp())))
    config = {"slot": slot, **vars(options)}
    run = RunConfig(storage_path=tempfile.mkdtemp(), callbacks=[Take(queue)])  # type: ignore[list-item]  # Ray takes its own kind
    scaling = ScalingConfig(num_workers=workers, resources_per_worker={"CPU": 1})
    TorchTrainer(worker, train_loop_config=config, scaling_config=scaling, run_config=run).fit()
    times: dict[str, list[float]] = queue.get(timeout=10)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--every", type=int, default=5)
    options = parser.parse_args()
    from dualsweep.cluster.connection import connect

    with connect("local"):
        for workers in (1, 2):
            times = measure(workers, options)
            rates = {name: options.batch * workers / statistics.median(each) for name, each in times.items()}
            ratio = statistics.median(b / a for a, b in zip(times["dualsweep"], times["bare DDP"], strict=True))
            shown = ", ".join(f"{name} {rate:.0f}" for name, rate in rates.items())
            print(f"{workers} worker{'s' if workers > 1 else ''}: {shown} samples/s; dualsweep reaches {ratio:.3f} of bare DDP")
    sys.exit(not holds("two workers, of bare DDP", ratio, ">= 0.95"))


if __name__ == "__main__":
    main()
