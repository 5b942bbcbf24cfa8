"""The worker loop against a bare loop of torch with averaged weights and clipping, in turn in one process.

    python -m tests.benchmarks.bench_loop [--rounds 15] [--steps 20] [--batch 64] [--every 5]

One thread; the same network, data, noise schedule and optimiser. Ours is the shipped recipe whole: three
constraints, draws that resume, a dual step for every five primal steps by a coordinator in this process.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from dualsweep.trainer.data.splits import assemble
from dualsweep.trainer.models.build import build
from dualsweep.trainer.models.schedules import noise_schedule
from tests.benchmarks.common import digits, interleaved, loop_of, show


def bare(batch: int) -> Callable[[], object]:
    """A plain step at `batch` samples."""
    recipe = digits([])
    data = assemble(recipe)
    schedule = noise_schedule(recipe, data.examples.shape)
    model: Any = build(recipe, data.examples.shape)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.995))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, fused=True)
    images = data.examples.fetch(data.rows[0])

    def step() -> None:
        x = images[torch.randint(len(images), (batch,))]
        noise, t = torch.randn_like(x), torch.randint(schedule.config.num_train_timesteps, (batch,))
        target = schedule.get_velocity(x, noise, t)
        loss = (model(schedule.add_noise(x, noise, t), t) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        average.update_parameters(model)

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--every", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    recipe = digits(train={"batch_size": options.batch}, dual={"every": options.every})
    cases = {"bare": bare(options.batch), "dualsweep": loop_of(recipe).advance}
    show(interleaved(cases, options.rounds, options.steps), "bare")


if __name__ == "__main__":
    main()
