"""Noised examples and weighted squared errors: what the terms on data are made of (method.md §1)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
from diffusers import DDPMScheduler
from torch import Tensor, nn

from dualsweep.trainer.models.edm import keys_of, sigmas
from dualsweep.trainer.models.flow import is_flow, velocity_scale
from dualsweep.trainer.models.preconditioning import preconditioning
from dualsweep.trainer.recipe.model import EDM
from dualsweep.trainer.terms.timesteps import of_weight

#: gamma of min-SNR weighting (Hang et al. 2023, arXiv 2303.09556, §3.4).
MIN_SNR_GAMMA = 5.0


@dataclass(frozen=True)
class Noised:
    """Examples x and noise [B, *shape] at timesteps t [B] in 0..T-1; `prompts` [B] is what each is given, of several."""

    schedule: DDPMScheduler
    x: Tensor
    noise: Tensor
    t: Tensor
    prompts: Tensor | None = None

    @property
    def given(self) -> dict[str, Tensor]:
        """What a model is told beside (noisy, t), as keyword arguments."""
        return {} if self.prompts is None else {"prompts": self.prompts}

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

    def part(self, places: Tensor | slice) -> Noised:
        """The rows at `places`, numbers [n] or a slice; what was computed once is not computed again."""
        prompts = None if self.prompts is None else self.prompts[places]
        rows = Noised(self.schedule, self.x[places], self.noise[places], self.t[places], prompts)
        for name in ("noisy", "target"):
            if name in self.__dict__:
                rows.__dict__[name] = self.__dict__[name][places]
        return rows


def weighted_errors(
    schedule: DDPMScheduler, prediction: Tensor, target: Tensor, t: Tensor, weight: str, first: int = 0, *,
    evenly: bool = False,
) -> Tensor:  # fmt: skip
    """w_t * mean over dimensions of |target - prediction|^2, shape [B], float32.

    `weight` is `simple` (1, on what the network predicts: under flow matching the velocity, under EDM its F), `min_snr`, `elbo`:
    then the expectation over t is in nats, a cross-entropy up to a constant when `target` is the training target, and the
    point-wise KL when it is another model's prediction ([CCA] Lemma 2); or `edm`. `first` is that of `information_weights`.

    Timesteps are drawn by the law that goes with the weight (`timesteps.of_weight`); where they are drawn `evenly`, the weight
    makes up for it, so that the expectation is the same.
    """
    errors: Tensor = (prediction.float() - target).square().flatten(1).mean(1)
    if weight == "simple" and not is_flow(schedule) and keys_of(schedule) is None:
        return errors
    by_timestep = _weights(schedule, weight, first, t.device, evenly)[t]
    return errors * (by_timestep * prediction[0].numel() if weight == "elbo" else by_timestep)


@lru_cache(maxsize=32)
def _weights(schedule: DDPMScheduler, weight: str, first: int, device: torch.device, evenly: bool) -> Tensor:
    """The weights [T] of all timesteps; once a run, as they are made on the host."""
    if weight == "simple":
        made = velocity_scale(schedule.alphas_cumprod) if is_flow(schedule) else _of_own_prediction(schedule)
    elif weight == "edm":
        made = edm_weights(schedule)
    else:
        made = _min_snr(schedule) if weight == "min_snr" else information_weights(schedule, first)
    law = of_weight(schedule, weight)
    if evenly and law.probabilities is not None:
        made = made * torch.from_numpy(law.total * law.probabilities).float()
    return made.to(device)


def _of_own_prediction(schedule: DDPMScheduler) -> Tensor:
    """What turns a squared error of v into one of what the network predicts, [T]."""
    numbers = preconditioning(schedule)
    return torch.ones_like(schedule.alphas_cumprod) if numbers is None else numbers[3] ** -2


def edm_weights(schedule: DDPMScheduler) -> Tensor:
    """(sigma^2 + d^2) / (sigma d)^2 of the squared error of the denoised sample (Karras et al. 2022, Table 1), [T].

    As a factor of the squared error of the noise, that of the sample over sigma^2, or of v, that over sigma^2 / (1 + sigma^2).
    Of a timestep without signal it is the limit for v; a model of the noise has none.
    """
    d = (keys_of(schedule) or EDM)["sigma_data"]
    share = sigmas(schedule).square() / d**2  # (sigma / d)^2
    if schedule.config.prediction_type == "v_prediction":
        of_v = (1 + share) / (1 + d**2 * share)
        return torch.where(share.isfinite(), of_v, d**-2).float()
    return (1 + share).float()


def distances(model: nn.Module, prediction: Tensor, noised: Noised, weight: str, first: int = 0) -> Tensor:
    """`weighted_errors` [B] of predictions [B, *shape] against those of a frozen model at the same noised samples."""
    with torch.no_grad():
        other = model(noised.noisy, noised.t, **noised.given).float()
    return weighted_errors(noised.schedule, prediction, other, noised.t, weight, first)


def information_weights(schedule: DDPMScheduler, first: int = 0) -> Tensor:
    """omega_t [T] with which E_t omega_t |eps error|^2 is a sum over t in nats; for v-prediction on its own errors.

    Relative entropies are integrals of the error over the log of the signal-to-noise ratio, ½ ∫ |eps error|^2 d log snr
    (Guo, Shamai, Verdú 2005, and method.md §1, whose sum takes each interval at its noisier end). This is the trapezoidal rule
    for it, with an error of order 1/T^2 instead of 1/T.

    With `first` above 0 the integral begins at that timestep: it is then the relative entropy of the marginals noised to it. From
    0 it reaches the samples themselves by one more interval, as long as the first.

    Timesteps without noise are left out. Where the noisiest have no signal (zero terminal snr, Lin et al. 2024, arXiv
    2305.08891), log snr is infinite there, but the integral is not: |eps error|^2 d log snr = (1 - a) |v error|^2 d snr. Of that
    form is the interval that ends at the first of them, by the trapezoidal rule in snr; the others tell nothing more.
    """
    cumulative = schedule.alphas_cumprod.cpu().double()
    snr = cumulative / (1 - cumulative)
    between = (cumulative > 0) & (cumulative < 1)
    inner, fading = between[:-1] & between[1:], between[:-1] & (cumulative[1:] <= 0)
    steps = torch.where(inner, (snr[:-1] / snr[1:]).log(), 0.0)
    below = torch.cat([torch.zeros(1), steps])
    cleanest = int(between.int().argmax())
    below[cleanest] = steps[cleanest]
    steps = steps + fading.double()  # ¼ snr (1 - a) |v error|^2 = ¼ |eps error|^2
    steps[:first], below[: first + 1 if first else 0], fading[:first] = 0.0, 0.0, False
    weights = 0.25 * len(snr) * (below + torch.cat([steps, torch.zeros(1)]))
    if schedule.config.prediction_type == "v_prediction":
        weights = weights * cumulative  # an error of v is one of eps over sqrt(a)
        weights[1:] += 0.25 * len(snr) * torch.where(fading, snr[:-1], 0.0)
    result: Tensor = weights.float()
    return result


def _min_snr(schedule: DDPMScheduler) -> Tensor:
    cumulative = schedule.alphas_cumprod
    snr: Tensor = (cumulative / (1 - cumulative)).clamp(min=1e-8)
    divisor = snr + 1 if schedule.config.prediction_type == "v_prediction" else snr
    return snr.clamp(max=MIN_SNR_GAMMA) / divisor
