"""Sampling, deterministic in (seed, position): sample k is the same whatever the batch size and the number of workers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from diffusers import DDPMScheduler
from torch import Tensor, nn

from dualsweep.trainer.models.predictor import Predictor
from dualsweep.trainer.recipe.sampling import Sampling
from dualsweep.trainer.rng import batches, in_turn
from dualsweep.trainer.samplers.chains import Chains
from dualsweep.trainer.samplers.registry import SAMPLERS
from dualsweep.trainer.samplers.rollout import Predict


@torch.no_grad()
def sample(
    model: nn.Module,
    schedule: DDPMScheduler,
    positions: range,
    shape: tuple[int, ...],
    *,
    sampling: Sampling,
    seed: int,
    batch_size: int,
    made: Callable[[int], None] = lambda count: None,
    prompt: int | None = None,
    least: int = 0,
) -> Tensor:
    """Samples [len(positions), *shape] on the CPU, by a sampler of `shipped/`; `made` hears after each batch how many there are.

    A model of several prompts or classes is given them in turn, by position, or `prompt` alone. `least` batches are made at
    least, where there are as many samples.

    Raises:
        ValueError: more steps than the schedule has.
    """
    if not positions:
        return torch.empty((0, *shape))
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    sampler = SAMPLERS[sampling.sampler]
    predict: Predict = model.guided if sampler.guided and isinstance(model, Predictor) else model
    prompts = len(model.texts) if isinstance(model, Predictor) else 0
    draw = sampler.prepare(predict, Chains(schedule, sampling, seed, shape, device, prompts))
    samples = []
    count = 0
    for batch in batches(positions, batch_size, least):
        asked = in_turn(prompts, batch) if prompt is None else torch.full((len(batch),), prompt)
        samples.append(draw(predict if asked is None else partial(predict, prompts=asked), batch).float().cpu())
        count += len(batch)
        made(count)
    return torch.cat(samples)
