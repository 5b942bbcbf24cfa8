"""Sampling, deterministic in (seed, position): sample k is the same whatever the batch size and the number of workers."""

from __future__ import annotations

from functools import partial

import torch
from diffusers import DDPMScheduler
from torch import Tensor, nn

from dualsweep.trainer.models.predictor import Predictor
from dualsweep.trainer.recipe.sampling import Sampling
from dualsweep.trainer.rng import Stream, in_turn, normals
from dualsweep.trainer.samplers.chain import steps_of
from dualsweep.trainer.samplers.grid import chain_of
from dualsweep.trainer.samplers.langevin import product_samples
from dualsweep.trainer.samplers.rollout import Predict, roll_out
from dualsweep.trainer.samplers.walk import Draws, walk

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
    """Samples [len(positions), *shape] on the CPU.

    `dpmpp_2m`, `ddim` (both deterministic) and `ddpm` (ancestral) are those of `grid.py`. `rollout` is the chain of `chain.py`:
    samples of a model aligned on it. `langevin` follows the model's own prediction, without guidance, as the terms
    on products do. A model of several prompts is given them in turn, by position.

    Raises:
        ValueError: more steps than the schedule has.
    """
    chunks = [positions[start : start + batch_size] for start in range(0, len(positions), batch_size)]
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    if sampling.sampler == "langevin":
        return _annealed(model, schedule, sampling, chunks, shape, seed, device)
    predict = model.guided if isinstance(model, Predictor) else model
    chunk = _rolled if sampling.sampler == "rollout" else _walked
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
    draws = partial(_draws, seed, shape=shape, device=device)
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


def _walked(
    predict: Predict, schedule: DDPMScheduler, sampling: Sampling, positions: range, shape: tuple[int, ...], seed: int,
    device: torch.device,
) -> Tensor:  # fmt: skip
    chain = chain_of(schedule, sampling.sampler, sampling.steps)
    return walk(predict, schedule, chain, _draws(seed, positions, shape, device)).float().cpu()


def _draws(seed: int, positions: range, shape: tuple[int, ...], device: torch.device) -> Draws:
    return lambda number: normals(seed, Stream.SAMPLING, number, positions, shape).to(device)
