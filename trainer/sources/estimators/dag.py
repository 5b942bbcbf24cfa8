"""Detailed balance by its squared residual (DAG, arXiv 2406.00633), for black-box rewards."""

from __future__ import annotations

from torch import Tensor

from dualsweep.trainer.sources.detailed_balance import BalanceEstimator, BalanceStep, residuals


class DAG(BalanceStep):
    """Half the squared residuals, for the model less what the batch has in common.

    On the model's own trajectories d_k grad log p is the score-function gradient of step k's KL to F(x_{k+1}) r_k / F(x_k).
    """

    def loss(self, number: int, piece: int = 0) -> Tensor:
        drawn = self._kept = self._kept or self._draw()
        learned = self._balance.learned(drawn)
        likelihoods, last = self._revisited(drawn)
        errors = residuals(learned.detach(), likelihoods, drawn)
        squared = self._closeness * self._share(0.5 * self._less_the_others(errors).square().sum(1))
        return squared + last + self._flow_loss(learned, errors)


class Estimator(BalanceEstimator):
    step = DAG
