"""The gradient of rewards by likelihood ratios, for black boxes."""

from __future__ import annotations

import torch
from torch import Tensor

from dualsweep.trainer.samplers import rollout as rollouts
from dualsweep.trainer.samplers.rollout import Path
from dualsweep.trainer.sources.rollout import PlainEstimator, RolloutSource, RolloutStep
from dualsweep.trainer.sources.step_multipliers import Coefficients
from dualsweep.trainer.transfer import sent


class PolicyGradient(RolloutStep):
    """The gradient by likelihood ratios of the denoising steps, for black-box rewards (DDPO, arXiv 2305.13301, eq. 3).

    With kl_k(theta) the terms that are sums over steps and r those on samples, grad E[sum_k kl_k + r] = E[sum_k grad kl_k +
    sum_k grad log p(x_{k+1} | x_k) (sum_{j > k} kl_j + r - baseline_k)], the second sum over the steps that have noise. The
    last step has none: rewards do not reach it, its KL alone does, which keeps it where the frozen model has it. The baseline is
    the mean over the other samples; past the first update the ratio of likelihoods is clipped, as in PPO.
    """

    def __init__(
        self, source: RolloutSource, step: int, coefficients: Coefficients, multipliers: Tensor | None = None
    ) -> None:  # fmt: skip
        super().__init__(source, step, coefficients, multipliers)
        self._path: Path | None = None

    def loss(self, number: int, piece: int = 0) -> Tensor:
        spec, source = self._source.setting.rollout, self._source
        if self._path is None:
            self._path = self._drawn()
        path = rollouts.revisit(self._forward, self._path, spec.activation_checkpointing)
        ratio = (path.log_likelihoods() - self._before).exp()
        clipped = ratio.clamp(1 - spec.clip_range, 1 + spec.clip_range)
        loss = self._share(torch.maximum(ratio * self._advantage, clipped * self._advantage).sum(1))
        for column, term in zip(source.columns, source.terms, strict=True):
            if self._measured[column].ndim == 2:
                loss = loss + self._share(self._coefficients[column] * term.values(path).sum(1))
        return loss

    @torch.no_grad()
    def _drawn(self) -> Path:
        source = self._source
        path = self._rolled_out()
        self._measured = source.values(path)
        self._before = path.log_likelihoods()
        later = torch.stack([self._later(each) for each in self._measured.values()])
        total = source.host.total(later.sum(1, keepdim=True))
        # Less the mean over the *other* samples: unbiased, unlike less the mean over all. Of each term apart, as samples may
        # weigh them differently.
        each_term = (later - total / self._size) * (self._size / max(1, self._size - 1))
        asked = [torch.as_tensor(self._coefficients[column]) for column in self._measured]
        own = [sent(each, later.device).to(later.dtype).view(-1, 1) for each in asked]
        self._advantage = (torch.stack(own) * each_term).sum(0)
        return path

    def _later(self, values: Tensor) -> Tensor:
        """What is yet to come of a term's values after each step that has noise, [B, K - 1]."""
        if values.ndim == 2:
            return (values.flip(1).cumsum(1).flip(1) - values)[:, :-1]
        return values[:, None].expand_as(self._before)


class Estimator(PlainEstimator):
    step = PolicyGradient

    @property
    def updates(self) -> int:
        return self._source.setting.rollout.updates
