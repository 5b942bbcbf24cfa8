"""The steps of the sampler on which alignment is measured and by which its samples are delivered.

K - 1 Gaussian steps x_{k+1} ~ N(mean_k(x_k), sigma_k^2 I) lead from noise to the schedule's finest noise level, and one step
without noise from there to the sample, which is its mean. What rewards and KLs are taken on is thus what is delivered.

- *Means* are DDIM's (Song et al. 2021, arXiv 2010.02502, eq. 12 and 16) with eta times the posterior's standard deviation
  s_k of q(x_{k+1} | x_k, x_0); eta = 1 is DDPM's ancestral sampler (Ho et al. 2020, arXiv 2006.11239, eq. 7).
- *Variances*: the best Gaussian step has s_k^2 + A_k^2 Var(x_0 | x_k), with A_k the coefficient of x_0 in the mean (Bao et al.
  2022, arXiv 2201.06503, theorem 1). Without the second part coarse chains end too narrow. It is taken as for data of standard
  deviation `DETAIL`, and at most as the noise of the level that the step ends at: what is too much for a narrower distribution
  is gone after the next steps.
- *Timesteps* go like a power of the number of steps left, from T - 1 to the first with noise: finer where the data is decided. On
  levels of EDM, which are so themselves, they are even.

The last step has no density, so the KL of its mean to another model's would be infinite. It is charged as if it had noise of
`RESOLUTION` times the finest level's: shifting the last mean costs more than shifting what came before, so nothing is bought
there, and the KL that is reported is that of the samples up to a blur by so little.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from diffusers import DDPMScheduler
from torch import Tensor

from dualsweep.trainer.models.edm import keys_of
from dualsweep.trainer.samplers.grid import TooManyStepsError, ancestral, inclusive

#: The standard deviation of data that a step's variance is made for; images have [-1, 1].
DETAIL = 0.2
#: Of the noise of the finest level, relative to its signal: the standard deviation that the last step's KL is measured by.
RESOLUTION = 0.5
#: Timesteps go like the number of steps left to this power.
POWER = 1.5


@dataclass(frozen=True)
class Steps:
    """The K steps of a chain, from noise to data; the last has no noise.

    timesteps [K] in T-1..0; signal, next_signal [K]: the cumulative alphas before and after each step, the last 1;
    kept [K]: how much of the predicted noise the mean keeps; sigma [K - 1]: the noise of all steps but the last;
    resolution: the standard deviation that the last step's KL is measured by.
    """

    timesteps: tuple[int, ...]
    signal: tuple[float, ...]
    next_signal: tuple[float, ...]
    kept: tuple[float, ...]
    sigma: tuple[float, ...]
    resolution: float
    prediction_type: str
    clip: float | None

    def __len__(self) -> int:
        return len(self.timesteps)

    def mean(self, number: int, x: Tensor, prediction: Tensor) -> Tensor:
        """The mean [B, *shape] of step `number` from x [B, *shape] and the model's prediction there."""
        a, following = self.signal[number], self.next_signal[number]
        prediction = prediction.float()
        if self.prediction_type == "v_prediction":
            clean = a**0.5 * x - (1 - a) ** 0.5 * prediction
            noise = a**0.5 * prediction + (1 - a) ** 0.5 * x
        else:
            clean, noise = (x - (1 - a) ** 0.5 * prediction) / a**0.5, prediction
        if self.clip is not None:
            clean = clean.clamp(-self.clip, self.clip)
            noise = (x - a**0.5 * clean) / (1 - a) ** 0.5
        mean: Tensor = following**0.5 * clean + self.kept[number] * noise
        return mean

    def clean(self, number: int, x: Tensor, mean: Tensor) -> Tensor:
        """The predicted sample [B, *shape] behind the mean of step `number` from x: `mean` solved for it."""
        a, following = self.signal[number], self.next_signal[number]
        share = self.kept[number] / (1 - a) ** 0.5
        clean: Tensor = (mean - share * x) / (following**0.5 - share * a**0.5)
        return clean


def steps_of(schedule: DDPMScheduler, count: int, eta: float) -> Steps:
    """`count` steps over the training schedule.

    Raises:
        TooManyStepsError: more steps than the schedule has timesteps, or timesteps with noise.
    """
    total = schedule.config.num_train_timesteps
    if count > total:
        raise TooManyStepsError(f"rollout.steps must be at most the schedule's {total}", str(count), "lower it")
    noiseless = int((schedule.alphas_cumprod >= 1).sum())  # such timesteps have no density
    if count > total - noiseless:
        raise TooManyStepsError(
            f"rollout.steps must be at most the schedule's timesteps with noise, {total - noiseless} of {total}", str(count),
            "lower it",
        )  # fmt: skip
    places = inclusive if keys_of(schedule) is not None else grid
    timesteps = tuple(noiseless + each for each in places(total - noiseless, count))
    signal = tuple(float(schedule.alphas_cumprod[t]) for t in timesteps)
    following = (*signal[1:], 1.0)
    pairs = [noise_of_step(before, after, eta) for before, after in zip(signal, following, strict=True)]
    clip = schedule.config.clip_sample_range if schedule.config.clip_sample else None
    return Steps(
        timesteps, signal, following, tuple(kept for kept, _ in pairs), tuple(sigma for _, sigma in pairs[:-1]),
        eta * RESOLUTION * math.sqrt((1 - signal[-1]) / signal[-1]), schedule.config.prediction_type, clip,
    )  # fmt: skip


def grid(total: int, count: int) -> tuple[int, ...]:
    """`count` timesteps of `total`, falling from total - 1 to 0; total - 1 alone where there is one."""
    if count == 1:
        return (total - 1,)
    last = count - 1
    return tuple(max(math.floor((total - 1) * (left / last) ** POWER + 0.5), left) for left in range(last, -1, -1))


def noise_of_step(before: float, after: float, eta: float) -> tuple[float, float]:
    """How much of the predicted noise a step's mean keeps, and its own noise, for the cumulative alphas before and after it."""
    posterior = ancestral(before, after) ** 2
    kept = math.sqrt(max(0.0, 1 - after - posterior))
    coefficient = after**0.5 - kept * (before / (1 - before)) ** 0.5
    uncertain = DETAIL**2 * (1 - before) / (before * DETAIL**2 + 1 - before)
    variance = posterior + min(coefficient**2 * uncertain, 1 - after)
    return math.sqrt(max(0.0, 1 - after - eta**2 * posterior)), eta * math.sqrt(variance)
