"""DDIM's differential equation by Heun's method: deterministic, of second order (Karras et al. 2022, arXiv 2206.00364, Alg. 1).

With sigma = sqrt((1 - a) / a), a the cumulative alpha, x / sqrt(a) has the predicted noise as its slope. Each step takes the mean
of the slopes at both its ends; the last one, which ends at sigma = 0, has the first alone.
"""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING

from dualsweep.trainer.samplers.spec import SamplerSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diffusers import DDPMScheduler
    from torch import Tensor

    from dualsweep.trainer.samplers.chains import Chains
    from dualsweep.trainer.samplers.grid import Step
    from dualsweep.trainer.samplers.rollout import Predict
    from dualsweep.trainer.samplers.spec import Draw


def _prepared(_: Predict, chains: Chains) -> Draw:
    from dualsweep.trainer.samplers.grid import chain_of

    steps = chain_of(chains.schedule, chains.sampling.steps)
    return lambda predict, positions: _solved(predict, chains.schedule, steps, chains.draws(positions)(0))


def _solved(predict: Predict, schedule: DDPMScheduler, steps: Sequence[Step], x: Tensor) -> Tensor:
    """The samples [B, *shape] at the end of the steps that start from x [B, *shape]."""
    for step, following in zip_longest(steps, steps[1:]):
        slope = _noise(predict, schedule, step, x)
        if following is not None:
            slope = (slope + _noise(predict, schedule, following, _moved(x, step, slope))) / 2
        x = _moved(x, step, slope)
    return x


def _noise(predict: Predict, schedule: DDPMScheduler, step: Step, x: Tensor) -> Tensor:
    import torch

    from dualsweep.trainer.samplers.grid import clean_of

    t = torch.full((len(x),), step.timestep, device=x.device)
    clean = clean_of(schedule, step.signal, x, predict(x, t))
    noise: Tensor = (x - step.signal**0.5 * clean) / (1 - step.signal) ** 0.5
    return noise


def _moved(x: Tensor, step: Step, slope: Tensor) -> Tensor:
    sigma, end = (((1 - each) / each) ** 0.5 for each in (step.signal, step.following))
    moved: Tensor = step.following**0.5 * (x / step.signal**0.5 + (end - sigma) * slope)
    return moved


SAMPLER = SamplerSpec(steps=25, prepare=_prepared)
