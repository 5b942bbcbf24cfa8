"""The worker loop against a bare loop of torch with averaged weights and clipping, in turn in one process.

    python -m tests.benchmarks.bench_loop [--rounds 15] [--steps 20] [--batch 64] [--every 5]

One thread; the same network, data, noise schedule and optimiser. Ours is the shipped recipe whole: three
constraints, draws that resume, a dual step for every five primal steps by a coordinator in this process.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from dualsweep.trainer.data.splits import assemble
from dualsweep.trainer.models.build import build
from dualsweep.trainer.models.schedules import noise_schedule
from tests.benchmarks.common import bare_step, digits, interleaved, loop_of
from tests.benchmarks.rows import STEPS, Interval


def bare(batch: int, averaged: bool) -> Callable[[], object]:
    """A plain step at `batch` samples, with clipping and averaged weights or without."""
    recipe = digits([])
    data = assemble(recipe)
    model: Any = build(recipe, data.examples.shape)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.995)) if averaged else None
    return bare_step(model, data, noise_schedule(recipe, data.examples.shape), batch, average)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--every", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    recipe = digits(train={"batch_size": options.batch}, dual={"every": options.every})
    cases = {"bare": bare(options.batch, True), "plainer": bare(options.batch, False), "dualsweep": loop_of(recipe).advance}
    times = interleaved(cases, options.rounds, options.steps, more=3 * options.rounds)
    kept = [
        Interval.over(times["bare"], times["dualsweep"]).holds(
            "steps a second over a bare loop's that clips and averages", ">= 1.0", STEPS
        ),
        Interval.over(times["plainer"], times["dualsweep"]).holds(
            "steps a second over a bare loop's that does neither", ">= 0.97", STEPS
        ),
    ]
    sys.exit(not all(kept))


if __name__ == "__main__":
    main()
