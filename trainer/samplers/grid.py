"""The steps of a sampler: between which noise levels each goes, and its update.

One update stands for all samplers here. With a and a' the cumulative alphas before and after a step and x0 the sample that the
model predicts,

    x' = √a' x0 + √(1 - a' - sigma²) (x - √a x0) / √(1 - a) + sigma noise      (Song et al. 2021, arXiv 2010.02502, eq. 12),

and two numbers make the sampler: the noise sigma, and the lead r, by which x0 is continued along the line from the step before:
x0 + r (x0 - x0 before).

    ddim      sigma = 0, r = 0
    ddpm      sigma that of the posterior q(x' | x, x0) (Ho et al. 2020, arXiv 2006.11239, eq. 7), r = 0
    dpmpp_2m  sigma = 0, r = h / (2 h before), h the length of a step in log √snr: the second-order multistep DPM-Solver++
              (Lu et al. 2022, arXiv 2211.01095, Algorithm 2)

Each step ends where the next begins, the last at no noise, a' = 1. diffusers' schedulers stride by T // n instead, whatever their
grid, and so end elsewhere where n does not divide T (its issues 9261, 11347, 12633).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from typing import NamedTuple

import torch
from diffusers import DDPMScheduler
from torch import Tensor

from dualsweep.trainer.config.diagnostics import UnplacedError
from dualsweep.trainer.models.edm import keys_of

#: How finely `condensed` timesteps end: the i-th of n from the clean end is about T (i/n)^POWER.
POWER = 2.5


class TooManyStepsError(UnplacedError, ValueError):
    """A sampler is asked for more steps than the schedule has."""


def trailing(total: int, count: int) -> tuple[int, ...]:
    """`count` timesteps of `total`, evenly from total - 1 down: t_i = round(T - (i - 1) T / n) - 1 (Lin et al. 2024, Table 2)."""
    return tuple(round(total - index * total / count) - 1 for index in range(count))


def inclusive(total: int, count: int) -> tuple[int, ...]:
    """`count` distinct timesteps of `total` evenly from total - 1 down to 0; total - 1 alone where there is one."""
    if count == 1:
        return (total - 1,)
    return tuple(round((total - 1) * left / (count - 1)) for left in range(count - 1, -1, -1))


def condensed(total: int, count: int) -> tuple[int, ...]:
    """`count` distinct timesteps of `total` from total - 1 down, ever closer towards 0."""
    return tuple(max(round(total * (index / count) ** POWER), index) - 1 for index in range(count, 0, -1))


def ancestral(signal: float, following: float) -> float:
    """The standard deviation of q(x' | x, clean sample) between cumulative alphas `signal` <= `following`, where `signal` < 1."""
    kept = signal / following if following > 0 else 1.0  # two levels of pure noise are one
    return math.sqrt((1 - following) / (1 - signal) * (1 - kept)) if signal < 1 else 0.0


def clean_of(schedule: DDPMScheduler, signal: float, x: Tensor, prediction: Tensor) -> Tensor:
    """The sample [B, *shape], float32, that a prediction at x [B, *shape] means, kept in the range that the schedule tells.

    `signal` is the cumulative alpha, above 0 where the noise is predicted.
    """
    prediction = prediction.float()
    if schedule.config.prediction_type == "v_prediction":
        return _in_range(schedule, signal**0.5 * x - (1 - signal) ** 0.5 * prediction)
    return _in_range(schedule, (x - (1 - signal) ** 0.5 * prediction) / signal**0.5)


def share_of(signal: float, following: float, sigma: float) -> float:
    """How much of x a step between two cumulative alphas keeps beside the predicted sample, with noise `sigma` (eq. 12)."""
    return math.sqrt(max(0.0, 1 - following - sigma**2) / (1 - signal)) if signal < 1 else 0.0


def update(x: Tensor, clean: Tensor, signal: float, following: float, sigma: float = 0.0) -> Tensor:
    """The mean [B, *shape] of a step from x between two cumulative alphas, for the predicted sample `clean` (eq. 12)."""
    share = share_of(signal, following, sigma)
    mean: Tensor = share * x + (following**0.5 - share * signal**0.5) * clean
    return mean


class Step(NamedTuple):
    """One step: its timestep in 0..T-1, the cumulative alphas before and after it, and the two numbers of its update."""

    timestep: int
    signal: float
    following: float
    sigma: float = 0.0
    lead: float = 0.0


def evenly(schedule: DDPMScheduler, count: int) -> tuple[int, ...]:
    """`trailing` timesteps of a schedule; of levels of EDM those from its noisiest to its finest (arXiv 2206.00364, eq. 5)."""
    places = inclusive if keys_of(schedule) is not None else trailing
    return places(schedule.config.num_train_timesteps, count)


def chain_of(
    schedule: DDPMScheduler, count: int, *,
    timesteps: Callable[[DDPMScheduler, int], Sequence[int]] = evenly,
    sigma: Callable[[float, float], float] = lambda signal, following: 0.0,
    leads: Callable[[Sequence[float]], Iterable[float]] = lambda signal: repeat(0.0),
) -> list[Step]:  # fmt: skip
    """`count` steps over a training schedule, from noise to data.

    timesteps  (schedule, count) -> those at which the model is asked, falling
    sigma      (cumulative alpha before, after a step) -> its noise
    leads      the cumulative alphas before each step -> their leads

    Raises:
        TooManyStepsError: more steps than the schedule has.
    """
    total = schedule.config.num_train_timesteps
    if count > total:
        raise TooManyStepsError(f"the sampler must take at most the schedule's {total} steps", str(count), "lower sample_steps")
    at = timesteps(schedule, count)
    signal = [float(schedule.alphas_cumprod[t]) for t in at]
    following = [*signal[1:], 1.0]
    return [Step(*each) for each in zip(at, signal, following, map(sigma, signal, following), leads(signal), strict=False)]


def _in_range(schedule: DDPMScheduler, clean: Tensor) -> Tensor:
    """Clipped, or by dynamic thresholding (Saharia et al. 2022, arXiv 2205.11487, §2.3), where the schedule asks for it."""
    config = schedule.config
    if config.thresholding:
        far = [torch.quantile(each, config.dynamic_thresholding_ratio) for each in clean.flatten(1).abs()]
        bound = torch.stack(far).clamp(1, config.sample_max_value).view(-1, *[1] * (clean.ndim - 1))
        return clean.clamp(-bound, bound) / bound
    return clean.clamp(-config.clip_sample_range, config.clip_sample_range) if config.clip_sample else clean
