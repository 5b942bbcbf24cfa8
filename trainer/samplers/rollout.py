"""The sampler as a chain of Gaussian steps, x_{k+1} ~ N(mean_theta(x_k), sigma_k^2 I): what path-wise KLs and policy gradients
are taken on, and what rewards are backpropagated through.

These are DDIM's steps (Song et al. 2021, arXiv 2010.02502, eq. 12 and 16); eta = 1 is DDPM's ancestral sampler. The last step
has noise too, so that every step has a density: as much as the step before it, the usual clipping of the posterior variance
(Ho et al. 2020, arXiv 2006.11239, and its code). With it the path measures of two models are mutually absolutely continuous.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise

import torch
from diffusers import DDPMScheduler
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from trainer.samplers.grid import trailing

#: A model: (x [B, *shape], t [B]) -> [B, *shape]; one of several prompts also takes which one each sample has, [B].
Predict = Callable[..., Tensor]


@dataclass(frozen=True)
class Steps:
    """The K steps of a sampler, from noise to data.

    timesteps [K] in 0..T-1; signal, next_signal [K]: the cumulative alphas before and after each step; sigma [K].
    """

    timesteps: tuple[int, ...]
    signal: tuple[float, ...]
    next_signal: tuple[float, ...]
    sigma: tuple[float, ...]
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
        mean: Tensor = following**0.5 * clean + self._left(number) * noise
        return mean

    def clean(self, number: int, x: Tensor, mean: Tensor) -> Tensor:
        """The predicted sample [B, *shape] behind the mean of step `number` from x: `mean` solved for it."""
        a, following = self.signal[number], self.next_signal[number]
        share = self._left(number) / (1 - a) ** 0.5
        clean: Tensor = (mean - share * x) / (following**0.5 - share * a**0.5)
        return clean

    def _left(self, number: int) -> float:
        """How much of the predicted noise the mean keeps (DDIM, eq. 12)."""
        return math.sqrt(max(0.0, 1 - self.next_signal[number] - self.sigma[number] ** 2))


def steps_of(schedule: DDPMScheduler, count: int, eta: float) -> Steps:
    """`count` steps over the training schedule.

    Raises:
        ValueError: more steps than the schedule has.
    """
    if count > schedule.config.num_train_timesteps:
        raise ValueError(
            f"rollout.steps must be at most the schedule's {schedule.config.num_train_timesteps}, but got {count}; lower it"
        )
    timesteps = trailing(schedule.config.num_train_timesteps, count)
    signal = tuple(float(schedule.alphas_cumprod[t]) for t in timesteps)
    following = (*signal[1:], 1.0)
    sigma = [
        eta * ((1 - after) / (1 - before) * (1 - before / after)) ** 0.5 for before, after in zip(signal, following, strict=True)
    ]
    # A chain of one step has no step before its last: what is left of the schedule's finest noise stands in.
    sigma[-1] = sigma[-2] if count > 1 else eta * (1 - float(schedule.alphas_cumprod[0])) ** 0.5
    clip = schedule.config.clip_sample_range if schedule.config.clip_sample else None
    return Steps(timesteps, signal, following, tuple(sigma), schedule.config.prediction_type, clip)


@dataclass(frozen=True)
class Path:
    """Trajectories of one model.

    states  K + 1 tensors [B, *shape]: the first is noise, the last the sample; where asked for, with gradients
    means   K tensors [B, *shape]: the Gaussian means of each step under the model
    prompts [B] on the CPU: which of the models' prompts each trajectory has; None where they have one or none
    known   the means under frozen models, each of which is asked once at these states
    """

    steps: Steps
    states: list[Tensor]
    means: list[Tensor]
    prompts: Tensor | None = None
    known: dict[Predict, list[Tensor]] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def samples(self) -> Tensor:
        return self.states[-1]

    def detached(self) -> Path:
        path = replace(self, states=[each.detach() for each in self.states], means=[each.detach() for each in self.means])
        path.known.update({model: [each.detach() for each in means] for model, means in self.known.items()})
        return path

    def under(self, model: Predict) -> Path:
        """The same states with the means of a frozen model, which is asked where it was not before."""
        if model not in self.known:
            self.known[model] = revisit(model, self).means
        return self.with_means(self.known[model])

    def with_means(self, means: list[Tensor]) -> Path:
        """Other means at the same states of the same prompts, where frozen models need not be asked again."""
        path = replace(self, means=means)
        path.known.update(self.known)
        return path

    def log_likelihoods(self) -> Tensor:
        """log N(x_{k+1}; mean_k, sigma_k^2) up to a constant, [B, K]."""
        each = [
            -(state - mean).square().flatten(1).sum(1) / (2 * sigma**2)
            for state, mean, sigma in zip(self.states[1:], self.means, self.steps.sigma, strict=True)
        ]
        return torch.stack(each, dim=1)

    def noising_log_likelihoods(self) -> Tensor:
        """log q(x_k | x_{k+1}) of the noising process between the two noise levels, up to a constant, [B, K].

        q = N(sqrt(a) x_{k+1}, (1 - a) I) with a the ratio of their cumulative alphas.
        """
        each = []
        for number, (before, after) in enumerate(pairwise(self.states)):
            ratio = self.steps.signal[number] / self.steps.next_signal[number]
            each.append(-(before - ratio**0.5 * after).square().flatten(1).sum(1) / (2 * (1 - ratio)))
        return torch.stack(each, dim=1)

    def predicted(self) -> list[Tensor]:
        """The sample that the model predicts at each state but the last: K tensors [B, *shape]."""
        pairs = enumerate(zip(self.states[:-1], self.means, strict=True))
        return [self.steps.clean(number, state, mean) for number, (state, mean) in pairs]

    def divergences(self, model: Predict) -> Tensor:
        """KL of each step's Gaussian to that of a frozen model at the same state, [B, K] in nats ([CCA] Lemma 1)."""
        others = self.under(model).means
        each = [
            (mean - other).square().flatten(1).sum(1) / (2 * sigma**2)
            for mean, other, sigma in zip(self.means, others, self.steps.sigma, strict=True)
        ]
        return torch.stack(each, dim=1)


def roll_out(
    model: Predict, steps: Steps, noise: Tensor, prompts: Tensor | None = None, *, through: int | None = None,
    recompute: bool = False,
) -> Path:  # fmt: skip
    """Trajectories from `noise` [B, 1 + K, *shape]: the start, then each step's draw; `prompts` as `Path` has them.

    Where gradients are enabled, they reach the states through the last `through` predictions (all by default); predictions before
    those have gradients to the weights alone. `recompute` keeps no activations.
    """
    x = noise[:, 0]
    states, means = [x], []
    for number, sigma in enumerate(steps.sigma):
        if through is not None and number <= len(steps) - through:
            x = x.detach()
            states[-1] = x
        mean = steps.mean(number, x, _ask(model, steps, number, x, prompts, recompute and torch.is_grad_enabled()))
        x = mean + sigma * noise[:, number + 1]
        means.append(mean)
        states.append(x)
    return Path(steps, states, means, prompts)


def revisit(model: Predict, path: Path, recompute: bool = False) -> Path:
    """The same states with the means of the present weights, with gradients to them."""
    means = []
    for number, state in enumerate(path.states[:-1]):
        means.append(path.steps.mean(number, state, _ask(model, path.steps, number, state, path.prompts, recompute)))
    return path.with_means(means)


def _ask(model: Predict, steps: Steps, number: int, x: Tensor, prompts: Tensor | None, recompute: bool = False) -> Tensor:
    """The model's prediction at step `number`."""
    t = torch.full((len(x),), steps.timesteps[number], device=x.device, dtype=torch.int64)
    asked = (x, t) if prompts is None else (x, t, prompts)
    prediction: Tensor = checkpoint(model, *asked, use_reentrant=False) if recompute else model(*asked)
    return prediction
