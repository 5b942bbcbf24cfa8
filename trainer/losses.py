"""The denoising loss of each sample, l(x; theta) (method.md §1): what objective and constraints are expectations of."""

from __future__ import annotations

from diffusers import DDPMScheduler
from torch import Tensor, nn

#: gamma of min-SNR weighting (Hang et al. 2023, arXiv 2303.09556, §3.4).
MIN_SNR_GAMMA = 5.0


def denoising_losses(model: nn.Module, schedule: DDPMScheduler, x: Tensor, noise: Tensor, t: Tensor, weight: str) -> Tensor:
    """w_t * mean over dimensions of |target - prediction|^2 for each sample, shape [B], float32.

    x, noise: [B, *shape]; t: [B] in 0..T-1. The target is the noise, or with v-prediction sqrt(a) noise - sqrt(1 - a) x
    (Salimans & Ho 2022, arXiv 2202.00512, App. D).
    """
    noisy = schedule.add_noise(x, noise, t)
    target = schedule.get_velocity(x, noise, t) if schedule.config.prediction_type == "v_prediction" else noise
    prediction = model(noisy, t)
    losses: Tensor = (prediction.float() - target).square().flatten(1).mean(1)
    weighted: Tensor = losses if weight == "simple" else losses * _min_snr(schedule, t)
    return weighted


def _min_snr(schedule: DDPMScheduler, t: Tensor) -> Tensor:
    cumulative = schedule.alphas_cumprod.to(t.device)[t]
    snr: Tensor = (cumulative / (1 - cumulative)).clamp(min=1e-8)
    divisor = snr + 1 if schedule.config.prediction_type == "v_prediction" else snr
    return snr.clamp(max=MIN_SNR_GAMMA) / divisor
