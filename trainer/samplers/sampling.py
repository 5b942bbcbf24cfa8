"""Sampling, deterministic in (seed, position): sample k is the same whatever the batch size and the number of workers."""

from __future__ import annotations

from functools import partial

import torch
from diffusers import DDPMScheduler
from torch import Tensor, nn

from dualsweep.trainer.models.predictor import Predictor
from dualsweep.trainer.recipe.sampling import Sampling
from dualsweep.trainer.rng import in_turn
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
    prompt: int | None = None,
) -> Tensor:
    """Samples [len(positions), *shape] on the CPU, by a sampler of `shipped/`.

    A model of several prompts or classes is given them in turn, by position, or `prompt` alone.

    Raises:
        ValueError: more steps than the schedule has.
    """
    if not positions:
        return torch.empty((0, *shape))
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    sampler = SAMPLERS[sampling.sampler]
    predict: Predict = model.guided if sampler.guided and isinstance(model, Predictor) else model
    prompts = len(model.texts) if isinstance(model, Predictor) else 0
    draw = sampler.prepare(predict, Chains(schedule, sampling, seed, shape, device))
    samples = []
    for start in range(0, len(positions), batch_size):
        batch = positions[start : start + batch_size]
        asked = in_turn(prompts, batch) if prompt is None else torch.full((len(batch),), prompt)
        samples.append(draw(predict if asked is None else partial(predict, prompts=asked), batch).float().cpu())
    return torch.cat(samples)
