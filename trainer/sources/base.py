"""Where per-sample values come from in a primal step, and how they reach the weights.

A source serves the terms that are evaluated on the same draws: noised examples, or the model's own trajectories. It measures
their values, and gives the surrogate whose gradient is that of their part of the Lagrangian.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from dualsweep.trainer.dual.problem import Vector
from dualsweep.trainer.dual.state import SlackReport
from dualsweep.trainer.evaluation.drawn import JointDraws, Scale

Integers = NDArray[np.int64]


class SourceStep(Protocol):
    """One source's draws of a primal step, on this worker's shard of the global batch."""

    def loss(self, number: int) -> Tensor:
        """The surrogate of update `number` < `Source.updates`, a scalar; averaged over workers, its gradient is the batch's."""
        ...

    def add_to(self, sums: ValueAccumulator) -> None:
        """Adds the per-sample values, which are known after `loss(0)`."""
        ...

    def input_error(self) -> str | None:
        """What is wrong with the inputs, for an update that was not finite; None where nothing is."""
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

    def scales(self) -> Sequence[Scale]:
        """What rewards were put on their scale by; none unless a source says otherwise."""
        return ()

    def facts(self) -> dict[int, dict[str, float]]:
        """By column, what the run is to keep of its terms: the scale of a reward, say; nothing unless a source says otherwise."""
        return {}


class ValueAccumulator:
    """Counts, sums and sums of squares of per-sample values, each [1 + m], over the primal steps of one dual step.

    `products` [1 + m, 1 + m] are the sums of products of values that were measured on the same samples, None without any and
    NaN for pairs that were not. `neighbours` [2, 1 + m] are the numbers and sums of squared differences of neighbours, of
    values in the order of strata.
    """

    def __init__(self, columns: int) -> None:
        self.values, self.neighbours = np.zeros((3, columns)), np.zeros((2, columns))
        self.products: Vector | None = None

    def add_stratified(self, columns: Integers, values: Tensor) -> None:
        """`values` [B], each of the expectation that `columns` [B] says; those of one expectation in the order of strata."""
        plain, size = values.detach().double().cpu().numpy(), self.values.shape[1]
        for row, power in enumerate((None, plain, plain**2)):
            self.values[row] += np.bincount(columns, power, size)
        order = np.argsort(columns, kind="stable")
        same = np.diff(columns[order]) == 0
        there, squares = columns[order][1:][same], np.diff(plain[order])[same] ** 2
        self.neighbours += np.stack([np.bincount(there, amounts, size) for amounts in (None, squares)])

    def add_joint(self, columns: Sequence[int], values: Tensor) -> None:
        """`values` [B, k] of k expectations, the `columns`, on the same B samples."""
        plain, at = values.detach().double().cpu().numpy(), list(columns)
        self._add_rows(at, plain)
        pairs = np.ix_(at, at)
        if self.products is None:
            self.products = np.full([self.values.shape[1]] * 2, np.nan)
        before = np.where(self.values[0, at] > len(plain), self.products[pairs], 0.0)
        self.products[pairs] = before + plain.T @ plain

    def _add_rows(self, at: list[int], plain: np.ndarray) -> None:
        self.values[:, at] += np.stack([np.full(len(at), len(plain)), plain.sum(0), (plain**2).sum(0)])

    def report(self, step: int, rank: int) -> SlackReport:
        """The report of this worker for dual step `step`; the sums start anew."""
        (count, total, squares), products, neighbours = self.values, self.products, self.neighbours
        self.values, self.products, self.neighbours = np.zeros_like(self.values), None, np.zeros_like(self.neighbours)
        return SlackReport(step, rank, count, total, squares, products, neighbours)
