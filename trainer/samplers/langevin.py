"""Annealed Langevin sampling of a product of diffusion models, by the weighted sum of their scores ([CCA] Alg. 2).

At each noise level the weighted score is that of the product of the noised models, which tends to the product itself as the
noise goes; it is not that of the noised product, so running the reverse process with it would be biased (Du et al. 2023,
arXiv 2302.11552, §3).
"""

from __future__ import annotations

import torch
from diffusers import DDPMScheduler
from torch import Tensor

from trainer.samplers.rollout import Predict, steps_of
from trainer.schema.product import Product


@torch.no_grad()
def product_samples(noise_prediction: Predict, schedule: DDPMScheduler, spec: Product, noise: Tensor, seed: int) -> Tensor:
    """Samples [B, *shape] from a start of standard normal `noise` [B, *shape].

    `noise_prediction` (x, t) -> [B, *shape] is the weighted sum of the models' predictions of the noise; the draws depend on
    `seed`. Steps are delta = 2 (r |z| / |score|)^2, by the batch's mean norms, smaller over each level's steps: what a
    step of finite size adds to the variance goes with it.
    """
    levels = steps_of(schedule, min(spec.levels, schedule.config.num_train_timesteps), 0.0)
    source = torch.Generator().manual_seed(seed)
    x = noise
    for timestep, signal in zip(
        (*levels.timesteps[:-1], 0), (*levels.signal[:-1], float(schedule.alphas_cumprod[0])), strict=True
    ):
        t = torch.full((len(x),), timestep, device=x.device, dtype=torch.int64)
        for step in range(spec.steps):
            score = -noise_prediction(x, t).float() / (1 - signal) ** 0.5
            z = torch.randn(x.shape, generator=source).to(x.device)
            ratio = z.flatten(1).norm(dim=1).mean() / score.flatten(1).norm(dim=1).mean().clamp(min=1e-12)
            size = 2 * (spec.snr * 0.3 ** (step / spec.steps) * ratio) ** 2
            x = x + size * score + (2 * size) ** 0.5 * z
    return x
