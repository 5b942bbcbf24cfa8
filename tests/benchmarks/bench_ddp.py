"""Two Ray Train workers of one core each: our loop against bare DistributedDataParallel, in turn in the same processes.

    python -m tests.benchmarks.bench_ddp [--rounds 12] [--steps 20] [--batch 64 256]

`--batch` is a worker's. Bare DDP is the same network on the same data and noise schedule with a plain loop: random batch, loss,
backward, AdamW; no constraints, no averaged weights, no clipping, no coordinator. Ours is the shipped recipe whole: three
constraints, a dual step for every five primal steps ([CDM]'s ratio; `--every` for another), averaged weights, clipping.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from typing import Any

from dualsweep.trainer.engine.dual_side import controller_of
from tests.benchmarks.common import digits
from tests.benchmarks.rows import STEPS, Interval
from tests.benchmarks.train_workers import measured

WORKERS = 2


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
    host = TrainHost(config["slot"], 0, controller_of(recipe), CheckpointFolder(tempfile.mkdtemp()), "bench")
    loop = loop_of(recipe, host)
    times = interleaved({"bare DDP": bare(batch), "dualsweep": loop.advance}, config["rounds"], config["steps"])
    ray.train.report(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--every", type=int, default=5)
    options = parser.parse_args()
    from dualsweep.cluster.connection import connect

    kept = []
    with connect("local"):
        for batch in options.batch:
            recipe = digits(train={"batch_size": batch * WORKERS})
            times = measured(worker, WORKERS, recipe, {**vars(options), "batch": batch})
            what = f"two workers of {batch} samples, steps a second over bare DDP's"
            kept.append(Interval.over(times["bare DDP"], times["dualsweep"]).holds(what, ">= 0.97", STEPS))
    sys.exit(not all(kept))


if __name__ == "__main__":
    main()
