"""EDM (Karras et al. 2022, arXiv 2206.00364) as a variance-preserving diffusion.

A sample x + sigma noise, over sqrt(1 + sigma^2), is sqrt(a) x + sqrt(1 - a) noise with a = 1 / (1 + sigma^2). The network F is
asked through the preconditioning of Table 1: with d the standard deviation of the data, the denoised sample is

    D(y) = c_skip y + c_out F(c_in y, c_noise),    c_skip = d^2 / (sigma^2 + d^2),    c_out = sigma d / sqrt(sigma^2 + d^2),
                                                   c_in = 1 / sqrt(sigma^2 + d^2),    c_noise = ln(sigma) / 4,

which of y = sqrt(1 + sigma^2) x_a is the v-prediction (sqrt(a) x_a - D) / sqrt(1 - a)
= sigma (1 - d^2) / (sigma^2 + d^2) x_a - d sqrt((1 + sigma^2) / (sigma^2 + d^2)) F: of d = 1, F is minus v. Losses, samplers and
KLs then hold as they are: a step of `ddim` is one of Euler's method in sigma, `dpmpp_2m` is the solver of second order.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from diffusers import DDPMScheduler
from torch import Tensor

#: The entry of a schedule's configuration that says that its networks are preconditioned so: the keys of a recipe's schedule.
MARK = "edm"


def edm_schedule(timesteps: int, keys: Mapping[str, float], clip_sample: bool) -> DDPMScheduler:
    """A schedule of the levels sigma_k = (low + k / (T - 1) (high - low))^rho, k = 0 … T - 1 (eq. 5, from the clean end).

    low and high are the rho-th roots of `sigma_min` and `sigma_max`. The cumulative alphas are those of the levels to float32's
    last digit, not products of as many betas: at sigma = 0.002 little of that would be left.
    """
    way = torch.linspace(0, 1, timesteps, dtype=torch.float64)
    low, high = (keys[each] ** (1 / keys["rho"]) for each in ("sigma_min", "sigma_max"))
    signal = 1 / (1 + (low + way * (high - low)) ** (2 * keys["rho"]))
    betas = 1 - signal / torch.cat([torch.ones(1, dtype=torch.float64), signal[:-1]])
    schedule = DDPMScheduler(
        num_train_timesteps=timesteps, trained_betas=betas.tolist(), prediction_type="v_prediction", clip_sample=clip_sample,
        timestep_spacing="trailing",
    )  # fmt: skip
    schedule.register_to_config(**{MARK: dict(keys)})
    schedule.alphas_cumprod = signal.float()
    return schedule


def keys_of(schedule: DDPMScheduler) -> Mapping[str, float] | None:
    """The keys of a schedule of EDM; None of others."""
    keys: Mapping[str, float] | None = schedule.config.get(MARK)
    return keys


def sigmas(schedule: DDPMScheduler) -> Tensor:
    """Noise over signal, sqrt((1 - a) / a), of each timestep of any schedule [T], in double; infinite without any signal."""
    signal = schedule.alphas_cumprod.cpu().double()
    sigma: Tensor = ((1 - signal) / signal).sqrt()
    return sigma


def preconditioned(schedule: DDPMScheduler) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of each timestep [T]: the scale of x, the time, and the factors of x and of the output (`preconditioning.py`)."""
    sigma, d = sigmas(schedule), float((keys_of(schedule) or {})["sigma_data"])
    total = sigma.square() + d**2
    scale = ((1 + sigma.square()) / total).sqrt()
    return scale.float(), (sigma.log() / 4).float(), (sigma * (1 - d**2) / total).float(), (-d * scale).float()


def lognormal(schedule: DDPMScheduler, mean: float, std: float) -> Tensor:
    """The probability of each timestep [T], in double: ln sigma ~ N(mean, std^2) is taken to the nearest level in ln sigma."""
    at = sigmas(schedule).log().clamp(-1e3, 1e3)
    between = (at[:-1] + at[1:]) / 2
    upto = 0.5 * (1 + torch.erf((between - mean) / (std * math.sqrt(2))))
    ends = torch.cat([torch.zeros(1, dtype=torch.float64), upto, torch.ones(1, dtype=torch.float64)])
    return ends.diff()
