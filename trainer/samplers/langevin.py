"""Annealed Langevin sampling of a product of diffusion models, by the weighted sum of their scores ([CCA] Alg. 2).

At each noise level the weighted score is that of the product of the noised models, which tends to the product itself as the
noise goes; it is not that of the noised product, so running the reverse process with it would be biased (Du et al. 2023,
arXiv 2302.11552, §3).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from diffusers import DDPMScheduler
from torch import Tensor

from dualsweep.trainer.recipe.product import Product
from dualsweep.trainer.samplers.grid import trailing
from dualsweep.trainer.samplers.rollout import Predict


@dataclass(frozen=True)
class Annealed:
    """samples [B, *shape]; sizes: of each step; levels: (x [B, *shape], timestep) at the end of each noise level, if kept."""

    samples: Tensor
    sizes: list[Tensor]
    levels: list[tuple[Tensor, int]]


@torch.no_grad()
def product_samples(
    predict: Predict, schedule: DDPMScheduler, spec: Product, draws: Callable[[int], Tensor], *,
    sizes: Sequence[Tensor] | None = None, keep: bool = False,
) -> Annealed:  # fmt: skip
    """Samples by the score that the predictions of `predict` (x, t) mean.

    `draws` are standard normals [B, *shape]: number 0 is the start, number k step k's noise. Steps are
    delta = 2 (r |z| / |score|)^2, by the batch's mean norms unless their `sizes` are given, smaller over each level's steps:
    what a step of finite size adds to the variance goes with it.
    """
    x = draws(0)
    used: list[Tensor] = []
    kept: list[tuple[Tensor, int]] = []
    for timestep in levels_of(schedule, spec.levels):
        signal = float(schedule.alphas_cumprod[timestep])
        t = torch.full((len(x),), timestep, device=x.device, dtype=torch.int64)
        for step in range(spec.steps):
            score = -noise_of(schedule, x, t, predict(x, t).float()) / (1 - signal) ** 0.5
            z = draws(1 + len(used))
            size = sizes[len(used)] if sizes is not None else _size(z, score, spec.snr * 0.3 ** (step / spec.steps))
            used.append(size)
            x = x + size * score + (2 * size) ** 0.5 * z
        if keep:
            kept.append((x, timestep))
    return Annealed(x, used, kept)


def levels_of(schedule: DDPMScheduler, count: int) -> list[int]:
    """The timesteps of at most `count` noise levels, from noise to the finest with noise: without it there is no score."""
    total = schedule.config.num_train_timesteps
    cleanest = int((schedule.alphas_cumprod < 1).int().argmax())
    return [max(each, cleanest) for each in (*trailing(total, min(count, total))[:-1], 0)]


def noise_of(schedule: DDPMScheduler, x: Tensor, t: Tensor, prediction: Tensor) -> Tensor:
    """The noise [B, *shape] that a prediction for x [B, *shape] at t [B] means, whatever the models predict."""
    if schedule.config.prediction_type != "v_prediction":
        return prediction
    signal = schedule.alphas_cumprod.to(x.device)[t].view(-1, *[1] * (x.ndim - 1))
    noise: Tensor = signal.sqrt() * prediction + (1 - signal).sqrt() * x
    return noise


def _size(z: Tensor, score: Tensor, ratio: float) -> Tensor:
    size: Tensor = 2 * (ratio * z.flatten(1).norm(dim=1).mean() / score.flatten(1).norm(dim=1).mean().clamp(min=1e-12)) ** 2
    return size
