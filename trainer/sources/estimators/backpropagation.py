"""The gradient of rewards through the sampler."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from dualsweep.trainer.rng import Stream, generator
from dualsweep.trainer.sources.rollout import PlainEstimator, RolloutStep, per_sample


class Backpropagated(RolloutStep):
    """The gradient through the sampler: exact without truncation (AlignProp, arXiv 2310.03739)."""

    def loss(self, number: int, piece: int = 0) -> Tensor:
        spec = self._source.setting.rollout
        path = self._rolled_out(self._through(), spec.activation_checkpointing)
        values = self._source.values(path)
        self._measured = {column: each.detach() for column, each in values.items()}
        shares = [self._share(self._coefficients[column] * per_sample(each)) for column, each in values.items()]
        return torch.stack(shares).sum()

    def _through(self) -> int | None:
        """How many of the last steps with noise rewards are backpropagated through; one draw for the whole batch."""
        truncation, steps = self._source.setting.rollout.truncation, max(1, len(self._source.steps.sigma))
        most = min(truncation.steps or steps, steps)
        uniform = generator(self._source.setting.seed, Stream.TRUNCATION, self._step)
        draws: dict[str, Callable[[], int | None]] = {
            "none": lambda: None,
            "fixed": lambda: most,
            "uniform": lambda: int(uniform.integers(1, most + 1)),
            "gaussian": lambda: int(np.clip(round(uniform.normal(most, truncation.spread)), 1, steps)),
        }
        return draws[truncation.kind]()


class Estimator(PlainEstimator):
    step = Backpropagated
