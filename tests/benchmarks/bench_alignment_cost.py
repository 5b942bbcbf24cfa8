"""A step of alignment: by the number of rewards, and beside a loop in plain torch with the same truncation.

    python -m tests.benchmarks.bench_alignment_cost [--rounds 10] [--steps 2]

One thread; 15 sampling steps of 64 trajectories, rewards backpropagated through the last 5. The loop rolls out over diffusers'
noise schedule, adds the path-wise KL to the pretrained network and three rewards by their multipliers, takes a step of AdamW and
one of dual ascent; it neither clips nor averages its weights. A reward more may cost a tenth of a step with one.
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from dualsweep.trainer.data.splits import assemble
from dualsweep.trainer.models.build import build
from dualsweep.trainer.models.schedules import noise_schedule
from dualsweep.trainer.recipe.recipe import Recipe
from tests.benchmarks.common import interleaved, loop_of
from tests.benchmarks.rows import STEPS, Interval

REWARDS = ["brightness", "contrast", "local_contrast", {"class_probability": 3}, {"class_probability": 8}]
SAMPLING_STEPS, THROUGH, BATCH, RATE = 15, 5, 64, 0.1


def aligned(count: int) -> Recipe:
    """Alignment of a digits model, of random weights for the time alone, to the first `count` rewards."""
    constraints = [{"name": f"r{i}", "reward": each, "at_least": 0.5} for i, each in enumerate(REWARDS[:count])]
    truncation = {"kind": "fixed", "steps": THROUGH}
    return Recipe.model_validate(
        {
            "name": "cost", "formulation": "alignment", "model": {"unet": {"channels": [16, 32]}},
            "models": {"pretrained": {"unet": {"channels": [16, 32]}}}, "data": {"source": "digits"},
            "constraints": constraints, "dual": {"every": 5, "step_size": RATE}, "train": {"steps": 10**8},
            "rollout": {"steps": SAMPLING_STEPS, "batch_size": BATCH, "truncation": truncation}, "checkpoint": {"every": 10**9},
        }
    )  # fmt: skip


def rewards(x: Tensor) -> Tensor:
    """Brightness, contrast and local contrast [3, B] of grey images in [-1, 1]."""
    luma = (x[:, 0].clamp(-1, 1) + 1) / 2
    windows = luma.unfold(1, 3, 1).unfold(2, 3, 1)
    contrast = (luma.var(dim=(1, 2), correction=0) + 1e-12).sqrt()
    local = (windows.var(dim=(3, 4), correction=0) + 1e-12).sqrt().mean(dim=(1, 2))
    return torch.stack([luma.mean(dim=(1, 2)), contrast, local])


def plain() -> Callable[[], object]:
    """The loop's step."""
    recipe = aligned(3)
    shape = assemble(recipe).examples.shape
    model: Any = build(recipe, shape)
    pretrained, signal = copy.deepcopy(model).requires_grad_(False).eval(), noise_schedule(recipe, shape).alphas_cumprod
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.train.lr, fused=True)
    timesteps = torch.linspace(len(signal) - 1, 0, SAMPLING_STEPS).round().long()
    multipliers = torch.zeros(3)

    def mean_of(network: Any, x: Tensor, a: Tensor, after: Tensor, sigma: Tensor, t: Tensor) -> Tensor:
        noise = network(x, t.expand(BATCH))
        clean = ((x - (1 - a).sqrt() * noise) / a.sqrt()).clamp(-1, 1)
        noise = (x - a.sqrt() * clean) / (1 - a).sqrt()
        mean: Tensor = after.sqrt() * clean + (1 - after - sigma**2).clamp(min=0).sqrt() * noise
        return mean

    def step() -> None:
        nonlocal multipliers
        x, kl = torch.randn(BATCH, *shape), torch.zeros(BATCH)
        for number, t in enumerate(timesteps):
            if number < SAMPLING_STEPS - THROUGH:
                x = x.detach()
            last = number + 1 == SAMPLING_STEPS
            a, after = signal[t], torch.ones(()) if last else signal[timesteps[number + 1]]
            sigma = ((1 - after) / (1 - a) * (1 - a / after)).sqrt()
            mean = mean_of(model, x, a, after, sigma, t)
            other = mean_of(pretrained, x, a, after, sigma, t)
            width = ((1 - a) / a).sqrt() / 2 if last else sigma
            kl = kl + (mean - other).square().flatten(1).sum(1) / (2 * width**2)
            x = mean if last else mean + sigma * torch.randn_like(mean)
        slacks = rewards(x).mean(1) - 0.5
        optimizer.zero_grad()
        (kl.mean() - multipliers @ slacks).backward()
        optimizer.step()
        multipliers = (multipliers - RATE * slacks.detach()).clamp(min=0.0)

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(1)
    cases: dict[str, Callable[[], object]] = {f"{count}": loop_of(aligned(count)).advance for count in (1, 2, 3, 5)}
    times = interleaved({**cases, "plain": plain()}, options.rounds, options.steps, warmup=2, more=2 * options.rounds)
    what = "a step of alignment with 3 rewards, of a loop in plain torch"
    kept = [Interval.over(times["3"], times["plain"]).holds(what, "<= 1.05", STEPS)]
    for count in (2, 3, 5):
        what = f"a step of alignment with {count} rewards, of one with one"
        kept.append(Interval.over(times[str(count)], times["1"]).holds(what, f"<= {1 + 0.1 * count:.1f}", STEPS))
    sys.exit(not all(kept))


if __name__ == "__main__":
    main()
