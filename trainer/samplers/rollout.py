"""Trajectories along the sampler's chain (`trainer/samplers/chain.py`): what path-wise KLs and policy gradients are taken on, and
what rewards are backpropagated through."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from dualsweep.trainer.models.spaces import Space
from dualsweep.trainer.samplers.chain import Steps

#: A model: (x [B, *shape], t [B]) -> [B, *shape]; one of several prompts also takes which one each sample has, [B].
Predict = Callable[..., Tensor]


@dataclass(frozen=True)
class Path:
    """Trajectories of one model.

    states  K tensors [B, *shape]: the first is noise, each other one a step's draw; where asked for, with gradients
    means   K tensors [B, *shape]: the means of each step under the model; the last is the sample
    prompts [B] on the CPU: which of the models' prompts each trajectory has; None where they have one or none
    known   the means under frozen models, each of which is asked once at these states
    shown   the samples as data, decoded once for all terms
    """

    steps: Steps
    states: list[Tensor]
    means: list[Tensor]
    prompts: Tensor | None = None
    known: dict[Predict, list[Tensor]] = field(default_factory=dict, init=False, repr=False, compare=False)
    shown: dict[Space, Tensor] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def samples(self) -> Tensor:
        return self.means[-1]

    def decoded(self, space: Space) -> Tensor:
        """The samples as data [B, *decoded shape], out of the space of the diffusion, at least float32."""
        if space not in self.shown:
            samples = self.samples
            self.shown[space] = space.decode(samples if samples.dtype == torch.float64 else samples.float())
        return self.shown[space]

    def detached(self) -> Path:
        path = replace(self, states=[each.detach() for each in self.states], means=[each.detach() for each in self.means])
        path.known.update({model: [each.detach() for each in means] for model, means in self.known.items()})
        return path

    def under(self, model: Predict) -> Path:
        """The path with the means that a frozen model has at its states; the model is asked only once."""
        if model not in self.known:
            self.known[model] = revisit(model, self).means
        return self.with_means(self.known[model])

    def with_means(self, means: list[Tensor]) -> Path:
        """Other means at the same states of the same prompts, where frozen models need not be asked again."""
        path = replace(self, means=means)
        path.known.update(self.known)
        return path

    def log_likelihoods(self) -> Tensor:
        """log N(x_{k+1}; mean_k, sigma_k^2) of the steps that have noise, up to a constant, [B, K - 1]."""
        by_step = [
            -(state - mean).square().flatten(1).sum(1) / (2 * sigma**2)
            for state, mean, sigma in zip(self.states[1:], self.means[:-1], self.steps.sigma, strict=True)
        ]
        return _columns(by_step, self.samples)

    def noising_log_likelihoods(self) -> Tensor:
        """log q(x_k | x_{k+1}) of the noising process between the two noise levels, up to a constant, [B, K - 1].

        q = N(sqrt(a) x_{k+1}, (1 - a) I) with a the ratio of their cumulative alphas.
        """
        by_step = []
        for number, (before, after) in enumerate(pairwise(self.states)):
            ratio = self.steps.signal[number] / self.steps.next_signal[number]
            by_step.append(-(before - ratio**0.5 * after).square().flatten(1).sum(1) / (2 * (1 - ratio)))
        return _columns(by_step, self.samples)

    def predicted(self) -> list[Tensor]:
        """The sample that the model predicts at each state: K tensors [B, *shape], of which the last is the sample."""
        pairs = enumerate(zip(self.states, self.means, strict=True))
        return [self.steps.clean(number, state, mean) for number, (state, mean) in pairs]

    def divergences(self, model: Predict) -> Tensor:
        """KL of each step's Gaussian to that of a frozen model at the same state, [B, K] in nats ([CCA] Lemma 1).

        The last step is measured by the chain's resolution.
        """
        others, deviations = self.under(model).means, (*self.steps.sigma, self.steps.resolution)
        by_step = [
            (mean - other).square().flatten(1).sum(1) / (2 * sigma**2)
            for mean, other, sigma in zip(self.means, others, deviations, strict=True)
        ]
        return torch.stack(by_step, dim=1)


def _columns(each: list[Tensor], samples: Tensor) -> Tensor:
    """[B, len(each)], also where there are none."""
    return torch.stack(each, dim=1) if each else samples.new_zeros(len(samples), 0)


def roll_out(
    model: Predict, steps: Steps, noise: Tensor, prompts: Tensor | None = None, *, through: int | None = None,
    recompute: bool = False,
) -> Path:  # fmt: skip
    """Trajectories from `noise` [B, K, *shape]: the start, then the draw of each step but the last; `prompts` as `Path` has them.

    Where gradients are enabled, they reach the sample through the last step and the `through` steps before it (all by default);
    predictions before those have gradients to the weights alone. `recompute` keeps no activations.
    """
    x = noise[:, 0]
    states, means = [x], []
    for number in range(len(steps)):
        if through is not None and number < len(steps) - through:
            x = x.detach()
            states[-1] = x
        mean = steps.mean(number, x, _ask(model, steps, number, x, prompts, recompute and torch.is_grad_enabled()))
        means.append(mean)
        if number < len(steps.sigma):
            x = mean + steps.sigma[number] * noise[:, number + 1]
            states.append(x)
    return Path(steps, states, means, prompts)


def revisit(model: Predict, path: Path, recompute: bool = False) -> Path:
    """The path with the means that `model` has now at its states, with gradients to its weights."""
    means = []
    for number, state in enumerate(path.states):
        means.append(path.steps.mean(number, state, _ask(model, path.steps, number, state, path.prompts, recompute)))
    return path.with_means(means)


def _ask(model: Predict, steps: Steps, number: int, x: Tensor, prompts: Tensor | None, recompute: bool = False) -> Tensor:
    """The model's prediction at step `number`."""
    t = torch.full((len(x),), steps.timesteps[number], device=x.device, dtype=torch.int64)
    asked = (x, t) if prompts is None else (x, t, prompts)
    prediction: Tensor = checkpoint(model, *asked, use_reentrant=False) if recompute else model(*asked)
    return prediction
