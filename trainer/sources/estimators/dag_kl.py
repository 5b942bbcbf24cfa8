"""Detailed balance by policy gradient on its residual (DAG-KL, arXiv 2406.00633), for black-box rewards."""

from __future__ import annotations

import torch
from torch import Tensor

from dualsweep.trainer.sources.detailed_balance import BalanceEstimator, BalanceStep, Drawn, residuals


class DAGKL(BalanceStep):
    """The model by REINFORCE with the residual as what each step costs, the flow by half the squared residual.

    The baseline is the mean over the other samples at the same step; past the first update the ratio of likelihoods is
    clipped, as in PPO.
    """

    def loss(self, number: int, piece: int = 0) -> Tensor:
        drawn = self._kept = self._kept or self._begin()
        clip_range, (now, last) = self._balance.spec.clip_range, self._revisited(drawn)
        ratio = (now - self._before).exp()
        clipped = ratio.clamp(1 - clip_range, 1 + clip_range)
        policy = self._share(torch.maximum(ratio * self._advantage, clipped * self._advantage).sum(1))
        learned = self._balance.learned(drawn)
        return self._closeness * policy + last + self._flow_loss(learned, residuals(learned.detach(), now.detach(), drawn))

    @torch.no_grad()
    def _begin(self) -> Drawn:
        drawn = self._draw()
        self._before = drawn.path.log_likelihoods()
        errors = residuals(self._balance.learned(drawn), self._before, drawn)
        self._advantage = self._less_the_others(errors)
        return drawn


class Estimator(BalanceEstimator):
    step = DAGKL
