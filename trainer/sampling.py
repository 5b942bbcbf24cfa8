"""Sampling, deterministic in (seed, position): sample k is the same whatever the batch size and the number of workers."""

from __future__ import annotations

import torch
from diffusers import DDPMScheduler
from torch import Tensor, nn

from trainer.draws import Stream, generator, normals
from trainer.models import sampler_schedule
from trainer.predictor import Predictor


@torch.no_grad()
def sample(
    model: nn.Module,
    schedule: DDPMScheduler,
    positions: range,
    shape: tuple[int, ...],
    *,
    sampler: str,
    steps: int,
    seed: int,
    batch_size: int,
) -> Tensor:
    """Samples [len(positions), *shape] on the CPU, by `steps` steps of `ddim` (deterministic) or `ddpm` (ancestral).

    Raises:
        ValueError: more steps than the schedule has.
    """
    if len(positions) and steps > schedule.config.num_train_timesteps:
        raise ValueError(
            f"the sampler must take at most the schedule's {schedule.config.num_train_timesteps} steps, but got {steps}; "
            "lower sample_steps"
        )
    chunks = [positions[start : start + batch_size] for start in range(0, len(positions), batch_size)]
    samples = [_chunk(model, sampler_schedule(schedule, sampler), chunk, shape, sampler, steps, seed) for chunk in chunks]
    return torch.cat(samples) if samples else torch.empty((0, *shape))


def _chunk(
    model: nn.Module, scheduler: DDPMScheduler, positions: range, shape: tuple[int, ...], sampler: str, steps: int, seed: int
) -> Tensor:
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    predict = model.guided if isinstance(model, Predictor) else model
    scheduler.set_timesteps(steps)
    x = normals(seed, Stream.SAMPLING, 0, positions, shape).to(device)
    # One generator a sample keeps ancestral noise a function of the position alone.
    noise = {}
    if sampler == "ddpm":
        seeds = [int(generator(seed, Stream.SAMPLING, 1, position).integers(2**63)) for position in positions]
        noise = {"generator": [torch.Generator().manual_seed(each) for each in seeds]}
    for t in scheduler.timesteps:
        prediction = predict(x, t.to(device).expand(len(x)))
        x = scheduler.step(prediction, t, x, **noise).prev_sample
    return x.float().cpu()
