"""Exact predictions for N(mean, sd^2 I), what a sampler makes of them, and what the published updates make of them.

A sampler of affine predictions is an affine map of its draws: asked at no draws and at each unit draw it tells the mean and the
covariance of its samples, without sampling.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import DDPMScheduler
from numpy.typing import NDArray
from torch import Tensor, nn

from dualsweep.trainer.models.flow import flow_schedule
from dualsweep.trainer.models.predictor import Predictor
from dualsweep.trainer.samplers.shipped import ddim, ddpm, dpmpp_2m

Array = NDArray[np.float64]
#: Standard normal draws [B, 2] by number.
Draws = Callable[[int], Tensor]
PREDICTIONS = ("epsilon", "v_prediction", "flow")
#: What each sampler through the schedule makes of (schedule, number of steps).
CHAINS = {"dpmpp_2m": dpmpp_2m.chain, "ddim": ddim.chain, "ddpm": ddpm.chain}


@dataclass(frozen=True)
class Gaussian:
    """N(mean, sd^2 I) in two dimensions."""

    sd: float
    mean: tuple[float, float] = (1.5, -1.0)


def schedule_of(prediction: str, timesteps: int, **options: object) -> DDPMScheduler:
    """A cosine schedule, or one of flow matching."""
    if prediction == "flow":
        return flow_schedule(timesteps, 1.0, clip_sample=False)
    return DDPMScheduler(
        timesteps, beta_schedule="squaredcos_cap_v2", prediction_type=prediction, clip_sample=False, **options
    )  # fmt: skip


class _Exact(nn.Module):
    """E[noise | x], or v, or with flow matching the velocity at the timestep T s."""

    def __init__(self, of: Gaussian, schedule: DDPMScheduler, prediction: str) -> None:
        super().__init__()
        self.of, self.prediction, self.total = of, prediction, len(schedule.alphas_cumprod)
        self.signal = schedule.alphas_cumprod.double()

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        s = (t.double() / self.total)[:, None]
        root, other = (1 - s, s) if self.prediction == "flow" else (self.signal[t.long()][:, None].sqrt(), None)
        level = other if other is not None else (1 - root.square()).sqrt()
        mean = torch.tensor(self.of.mean).double()
        away = (x - root * mean) / (root.square() * self.of.sd**2 + level.square())
        noise, clean = level * away, mean + root * self.of.sd**2 * away
        found = {"epsilon": noise, "v_prediction": root * noise - level * clean, "flow": noise - clean}
        return found[self.prediction].to(x.dtype)


def exact(of: Gaussian, schedule: DDPMScheduler, prediction: str) -> Predictor:
    """The exact model of a Gaussian under a schedule."""
    return Predictor(_Exact(of, schedule, prediction)).under(schedule)


@torch.no_grad()
def moments(sampler: Callable[[Draws], Tensor], count: int) -> tuple[Array, Array]:
    """Mean [2] and covariance [2, 2] of what an affine sampler makes of `count` standard normal draws, each [B, 2]."""
    unit = torch.eye(2 * count).view(2 * count, count, 2)
    rows = torch.cat([torch.zeros(1, count, 2), unit])
    made = sampler(lambda number: rows[:, number].clone()).double().numpy()
    slopes = made[1:] - made[0]
    return made[0], slopes.T @ slopes


def published(of: Gaussian, signal: Array, sampler: str) -> tuple[float, float]:
    """Mean (first coordinate) and sd by the published update of `ddim` or `ddpm` at the cumulative alphas [n], then 1.

    DDIM: Song et al. 2021, eq. 12 with sigma = 0. DDPM: the posterior of Ho et al. 2020, eq. 7, between the two levels.
    """
    mean, variance, exact_mean = 0.0, 1.0, of.mean[0]
    for a, after in zip(signal, [*signal[1:], 1.0], strict=True):
        gain = np.sqrt(a) * of.sd**2 / (a * of.sd**2 + 1 - a)  # of the predicted sample in x
        shift = exact_mean * (1 - gain * np.sqrt(a))
        if sampler == "ddim":
            of_x, of_clean, added = np.sqrt((1 - after) / (1 - a)), np.sqrt(after) - np.sqrt(a * (1 - after) / (1 - a)), 0.0
        else:
            beta = 1 - a / after
            of_x, of_clean = np.sqrt(1 - beta) * (1 - after) / (1 - a), np.sqrt(after) * beta / (1 - a)
            added = (1 - after) / (1 - a) * beta
        mean = of_x * mean + of_clean * (gain * mean + shift)
        variance = (of_x + of_clean * gain) ** 2 * variance + added
    return mean, float(np.sqrt(variance))


def grid(timesteps: int, count: int) -> list[int]:
    """t_i = round(T - (i - 1) T / n) - 1 for i = 1 … n."""
    return [round(timesteps - (i - 1) * timesteps / count) - 1 for i in range(1, count + 1)]
