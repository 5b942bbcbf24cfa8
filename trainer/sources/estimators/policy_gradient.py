"""The gradient of rewards by likelihood ratios, for black boxes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from trainer.samplers import rollout as rollouts
from trainer.samplers.rollout import Path
from trainer.sources.turn import PlainEstimator, RolloutTurn

if TYPE_CHECKING:
    from trainer.sources.rollout import RolloutSource


class PolicyGradient(RolloutTurn):
    """The gradient by likelihood ratios of the denoising steps, for black-box rewards (DDPO, arXiv 2305.13301, eq. 3).

    With kl_k(theta) the terms that are sums over steps and r those on samples, grad E[sum_k kl_k + r] = E[sum_k grad kl_k +
    sum_k grad log p(x_{k+1} | x_k) (sum_{j > k} kl_j + r - baseline_k)]. The baseline is the mean over the other samples;
    past the first update the ratio of likelihoods is clipped, as in PPO.
    """

    def __init__(self, source: RolloutSource, step: int, weights: Mapping[int, float]) -> None:
        super().__init__(source, step, weights)
        self.rounds = source.recipe.rollout.updates
        self._path: Path | None = None

    def loss(self, number: int) -> Tensor:
        spec, source = self._source.recipe.rollout, self._source
        if self._path is None:
            self._path = self._drawn()
        path = rollouts.revisit(source.forward, self._path, spec.activation_checkpointing)
        ratio = (path.log_likelihoods() - self._before).exp()
        clipped = ratio.clamp(1 - spec.clip_range, 1 + spec.clip_range)
        loss = self._share(torch.maximum(ratio * self._advantage, clipped * self._advantage).sum(1))
        for column, term in zip(source.columns, source.terms, strict=True):
            if self._measured[column].ndim == 2:
                loss = loss + self._weights[column] * self._share(term.values(path).sum(1))
        return loss

    @torch.no_grad()
    def _drawn(self) -> Path:
        source = self._source
        path = self._rolled_out()
        self._measured = source.values(path)
        self._before = path.log_likelihoods()
        later = torch.zeros_like(self._before)
        for column, each in self._measured.items():
            ahead = each.flip(1).cumsum(1).flip(1) - each if each.ndim == 2 else each[:, None]
            later = later + self._weights[column] * ahead
        total = source.host.total(later.sum(0))
        # Less the mean over the *other* samples: unbiased, unlike less the mean over all.
        self._advantage = (later - total / self._size) * (self._size / max(1, self._size - 1))
        return path


class Estimator(PlainEstimator):
    step = PolicyGradient
