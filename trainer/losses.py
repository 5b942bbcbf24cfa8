"""Noised examples and weighted squared errors: what the terms on data are made of (method.md §1)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from diffusers import DDPMScheduler
from torch import Tensor, nn

#: gamma of min-SNR weighting (Hang et al. 2023, arXiv 2303.09556, §3.4).
MIN_SNR_GAMMA = 5.0


@dataclass(frozen=True)
class Noised:
    """Examples x and noise [B, *shape] at timesteps t [B] in 0..T-1."""

    schedule: DDPMScheduler
    x: Tensor
    noise: Tensor
    t: Tensor

    @cached_property
    def noisy(self) -> Tensor:
        """sqrt(a_t) x + sqrt(1 - a_t) noise, [B, *shape]."""
        noisy: Tensor = self.schedule.add_noise(self.x, self.noise, self.t)
        return noisy

    @cached_property
    def target(self) -> Tensor:
        """What the model is to predict, [B, *shape]: the noise, or with v-prediction sqrt(a) noise - sqrt(1 - a) x.

        (Salimans & Ho 2022, arXiv 2202.00512, App. D.)
        """
        target: Tensor = self.noise
        if self.schedule.config.prediction_type == "v_prediction":
            target = self.schedule.get_velocity(self.x, self.noise, self.t)
        return target

    def part(self, mask: Tensor) -> Noised:
        """The rows where `mask` [B] is true; what was computed once is not computed again."""
        rows = Noised(self.schedule, self.x[mask], self.noise[mask], self.t[mask])
        for name in ("noisy", "target"):
            if name in self.__dict__:
                rows.__dict__[name] = self.__dict__[name][mask]
        return rows


def denoising_losses(model: nn.Module, schedule: DDPMScheduler, x: Tensor, noise: Tensor, t: Tensor, weight: str) -> Tensor:
    """The denoising loss l(x; theta) of each sample, shape [B], float32: `weighted_errors` against the target."""
    noised = Noised(schedule, x, noise, t)
    return weighted_errors(schedule, model(noised.noisy, t), noised.target, t, weight)


def weighted_errors(schedule: DDPMScheduler, prediction: Tensor, target: Tensor, t: Tensor, weight: str) -> Tensor:
    """w_t * mean over dimensions of |target - prediction|^2, shape [B], float32.

    `weight` is `simple` (1), `min_snr`, or `elbo`: then the expectation over t is in nats, a cross-entropy up to a constant
    when `target` is the training target, and the point-wise KL when it is another model's prediction ([CCA] Lemma 2).
    """
    errors: Tensor = (prediction.float() - target).square().flatten(1).mean(1)
    if weight == "simple":
        return errors
    if weight == "min_snr":
        return errors * _min_snr(schedule, t)
    return errors * (information_weights(schedule).to(t.device)[t] * prediction[0].numel())


def information_weights(schedule: DDPMScheduler) -> Tensor:
    """omega_t [T] with which T * E_t[...] becomes a sum in nats: T/2 (snr_{t-1} - snr_t) (1 - a_t) / a_t on |eps error|^2.

    method.md §1; times a_t for v-prediction, whose errors are those of eps over sqrt(a_t). The ratio of signal to noise before
    the first timestep, infinite for clean data, is extrapolated geometrically: as a schedule one step finer would have it.
    """
    cumulative = schedule.alphas_cumprod.double()
    snr = cumulative / (1 - cumulative)
    before = torch.cat([(snr[:1] ** 2 / snr[1:2]), snr[:-1]])
    weights = 0.5 * len(snr) * (before - snr) / snr
    if schedule.config.prediction_type == "v_prediction":
        weights = weights * cumulative
    result: Tensor = weights.float()
    return result


def _min_snr(schedule: DDPMScheduler, t: Tensor) -> Tensor:
    cumulative = schedule.alphas_cumprod.to(t.device)[t]
    snr: Tensor = (cumulative / (1 - cumulative)).clamp(min=1e-8)
    divisor = snr + 1 if schedule.config.prediction_type == "v_prediction" else snr
    return snr.clamp(max=MIN_SNR_GAMMA) / divisor
