"""Sampling, deterministic in (seed, position): sample k is the same whatever the batch size and the number of workers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from diffusers import DDPMScheduler
from torch import Tensor, nn

from trainer.draws import Stream, generator, in_turn, normals
from trainer.models.predictor import Predictor
from trainer.models.schedules import sampler_schedule
from trainer.recipe import Sampling
from trainer.samplers.chain import steps_of
from trainer.samplers.langevin import product_samples
from trainer.samplers.rollout import Predict, roll_out

#: Chains from which the sizes of Langevin steps are taken.
PILOT = 64


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
) -> Tensor:
    """Samples [len(positions), *shape] on the CPU: by `ddim` (deterministic), `ddpm` (ancestral), `rollout` or `langevin`.

    `rollout` is the chain of `trainer.samplers.chain`: samples of a model aligned on it.
    `langevin` follows the model's own prediction, without guidance, as the terms on products do. A model of several prompts is
    given them in turn, by position.

    Raises:
        ValueError: more steps than the schedule has.
    """
    if len(positions) and sampling.sampler != "langevin" and sampling.steps > schedule.config.num_train_timesteps:
        raise ValueError(
            f"the sampler must take at most the schedule's {schedule.config.num_train_timesteps} steps, "
            f"but got {sampling.steps}; lower sample_steps"
        )
    chunks = [positions[start : start + batch_size] for start in range(0, len(positions), batch_size)]
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    if sampling.sampler == "langevin":
        return _annealed(model, schedule, sampling, chunks, shape, seed, device)
    predict = model.guided if isinstance(model, Predictor) else model
    chunk = _rolled if sampling.sampler == "rollout" else _scheduled
    count = len(model.texts) if isinstance(model, Predictor) else 0
    samples = []
    for each in chunks:
        prompts = in_turn(count, each)
        bound = predict if prompts is None else partial(predict, prompts=prompts)
        samples.append(chunk(bound, schedule, sampling, each, shape, seed, device))
    return torch.cat(samples) if samples else torch.empty((0, *shape))


def _annealed(
    predict: Predict, schedule: DDPMScheduler, sampling: Sampling, chunks: list[range], shape: tuple[int, ...], seed: int,
    device: torch.device,
) -> Tensor:  # fmt: skip
    """The step sizes are those of a pilot's chains, so that a sample does not depend on the others of its batch."""
    spec = sampling.product.model_copy(update={"levels": sampling.steps})

    def draws(positions: range) -> Callable[[int], Tensor]:
        return lambda number: normals(seed, Stream.SAMPLING, number, positions, shape).to(device)

    if not chunks:
        return torch.empty((0, *shape))
    sizes = product_samples(predict, schedule, spec, draws(range(PILOT))).sizes
    samples = [product_samples(predict, schedule, spec, draws(each), sizes=sizes).samples for each in chunks]
    return torch.cat([each.float().cpu() for each in samples])


def _rolled(
    predict: Predict, schedule: DDPMScheduler, sampling: Sampling, positions: range, shape: tuple[int, ...], seed: int,
    device: torch.device,
) -> Tensor:  # fmt: skip
    steps = steps_of(schedule, sampling.steps, sampling.eta)
    noise = normals(seed, Stream.SAMPLING, 0, positions, (len(steps), *shape)).to(device)
    return roll_out(predict, steps, noise).samples.float().cpu()


def _scheduled(
    predict: Predict, schedule: DDPMScheduler, sampling: Sampling, positions: range, shape: tuple[int, ...], seed: int,
    device: torch.device,
) -> Tensor:  # fmt: skip
    scheduler = sampler_schedule(schedule, sampling.sampler)
    scheduler.set_timesteps(sampling.steps)
    x = normals(seed, Stream.SAMPLING, 0, positions, shape).to(device)
    # One generator a sample keeps ancestral noise a function of the position alone.
    noise = {}
    if sampling.sampler == "ddpm":
        seeds = [int(generator(seed, Stream.SAMPLING, 1, position).integers(2**63)) for position in positions]
        noise = {"generator": [torch.Generator().manual_seed(each) for each in seeds]}
    for t in scheduler.timesteps:
        prediction = predict(x, t.to(device).expand(len(x)))
        x = scheduler.step(prediction, t, x, **noise).prev_sample
    return x.float().cpu()
