"""Where per-sample values come from in a primal step, and how they reach the weights.

A source serves the terms that are evaluated on the same draws: noised examples, or the model's own trajectories. It measures
their values, and gives the surrogate whose gradient is that of their part of the Lagrangian.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
import torch
from torch import Tensor, nn

from dualsweep.trainer.dual.problem import Vector
from dualsweep.trainer.evaluation.drawn import Calibration, JointDraws
from dualsweep.trainer.sources.value_accumulator import Integers, ValueAccumulator


@dataclass(frozen=True)
class Inputs:
    """What is kept of a step's inputs until the host reads what the device has made of them.

    largest [B]  of each the largest magnitude, on the device; NaN where one of its numbers is
    fault        what is wrong, from the places of those that are not finite
    always       whether it is wrong also where the update was finite
    """

    largest: Tensor
    fault: Callable[[Integers], str]
    always: bool = False

    @classmethod
    def of(cls, x: Tensor, fault: Callable[[Integers], str]) -> Self:
        """Those of x [B, ...]."""
        return cls(torch.linalg.vector_norm(x.detach().flatten(1), torch.inf, dim=1), fault)

    def error(self) -> str | None:
        """What is wrong with the inputs; None where nothing is. Waits for the device."""
        bad = np.flatnonzero(~np.isfinite(self.largest.cpu().numpy()))
        return self.fault(bad) if len(bad) else None


class SourceStep(Protocol):
    """One source's draws of a primal step, on this worker's shard of the global batch. Nothing here waits for the device."""

    def loss(self, number: int, piece: int = 0) -> Tensor:
        """The surrogate of update `number` < `Source.updates` on `piece` < `train.accumulate` of the shard, a scalar.

        Summed over pieces and averaged over workers, its gradient is the batch's.
        """
        ...

    def add_to(self, sums: ValueAccumulator) -> None:
        """Adds the per-sample values, which are known after `loss(0)`."""
        ...

    def inputs(self) -> Inputs | None:
        """What was given for an update, and must be finite; None where it is nothing."""
        ...


@dataclass(frozen=True, eq=False)
class AuxiliaryNetwork:
    """A network that a source needs trained beside the model, by the same steps.

    module: with the same weights on every worker. lr: its own rate.
    """

    module: nn.Module
    lr: float


class Source(Protocol):
    """Terms on the same draws. `columns` are their places among the expectations: 0 is the objective, 1 + i constraint i."""

    columns: tuple[int, ...]
    #: Updates of the model that one step's draws are for.
    updates: int = 1

    def companions(self) -> Mapping[str, AuxiliaryNetwork]:
        """Networks to be trained beside the model, by name; none unless a source says otherwise."""
        return {}

    def begin_step(self, step: int, coefficients: Vector) -> SourceStep:
        """Step number `step` of the run; `coefficients` [1 + m] are the Lagrangian's over their absolute sum.

        One a primal step, unless another source has more updates; what is drawn depends on the number alone.
        """
        ...

    def state(self) -> Mapping[str, Any]:
        """The plain numbers that a checkpoint stores of what has been drawn; none unless a source says otherwise."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Puts back what `state` returned; an earlier version's checkpoint holds nothing of it."""
        return

    def close(self) -> None:
        """Lets go of what only steps need: none begins afterwards."""
        return

    def measure(self, coefficients: Vector, held_out: bool, draws: range) -> list[JointDraws]:
        """Values of the present model on this worker's share of the final `draws` of each term; none where there is nothing.

        A later range continues the draws of an earlier one. `coefficients` [1 + m] are the final ones, for what is drawn by
        them.
        """
        ...

    def calibrations(self) -> Sequence[Calibration]:
        """What values were put on their scale by, after they were measured; none unless a source says otherwise."""
        return ()

    def facts(self) -> dict[int, dict[str, float]]:
        """By column, what the run is to keep of its terms: the scale of a reward, say; nothing unless a source says otherwise."""
        return {}
