"""Which multipliers the samples of a primal step have: what a source asks of its run's policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from torch import Tensor

from dualsweep.trainer.dual.problem import Vector
from dualsweep.trainer.engine.host import Host
from dualsweep.trainer.sources.mixture_batch import GlobalBatch, Integers, Mixture

#: The Lagrangian's normalised coefficients by column: a number, or one for each trajectory [b].
Coefficients = Mapping[int, float] | Mapping[int, Tensor]


class StepMultipliers(Protocol):
    """The multipliers of a step's samples: the same for all, or each sample's own (`dualsweep.trainer.engine.multiplier_policy`).

    `coefficients` [1 + m] are the Lagrangian's normalised ones at the multipliers of the dual state.
    """

    def batch(self, step: int, coefficients: Vector, mixture: Mixture, first: Integers) -> GlobalBatch:
        """The global batch of noised examples of primal step `step`, of each part from its draw number `first` [p] on."""
        ...

    def trajectories(
        self, step: int, coefficients: Vector, columns: Sequence[int], size: int, host: Host
    ) -> tuple[Coefficients, Mapping[str, Tensor]]:
        """The coefficients of this worker's b of `size` trajectories; and `multipliers` [b, m] where each has its own."""
        ...
