"""Per-sample values over the primal steps of a dual step, which stay on the device until its report is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dualsweep.trainer.dual.problem import Vector
from dualsweep.trainer.dual.state import SlackReport
from dualsweep.trainer.transfer import sent

Integers = NDArray[np.int64]

#: Numbers of the table by which kept values are summed, at most: however long a dual step is, one worker keeps no more.
LARGEST_TABLE = 2**20
#: Draws of a dual step that workers tell each other, about: the differences of as many tell an error to a third of a percent.
MOST_TOLD = 2**17


@dataclass(frozen=True)
class Places:
    """Where a worker's values [b] stand in the global batch, of `size`, of primal step `step`: at `positions` [b]."""

    step: int
    positions: Integers
    size: int


class ValueAccumulator:
    """Counts, sums and sums of squares of per-sample values, each [1 + m], over the primal steps of one dual step.

    Beside them the sums of products of values that were measured on the same samples, and the numbers and sums of squared
    differences of neighbours, of values in the order of strata. Neighbours in a batch are other workers' where there are several:
    the values themselves are then reported. All sums are taken in float64: on the device, or where it has no float64 on the host.
    Only `report` waits for the device.
    """

    def __init__(self, columns: int) -> None:
        self._columns = columns
        self._forget()

    def _forget(self) -> None:
        self._counts = np.zeros((2, self._columns))
        self._kept: list[tuple[Integers, Tensor]] = []
        self._stratified: Tensor | None = None
        self._shared: list[tuple[Places, Integers, Tensor]] = []
        self._joint: dict[tuple[int, ...], tuple[int, Tensor]] = {}

    def add_stratified(self, columns: Integers, values: Tensor, places: Places | None = None) -> None:
        """`values` [B], each of the expectation that `columns` [B] says; those of one expectation in the order of strata.

        `places` are given where others of the same batch are other workers'.
        """
        if not len(columns):
            return
        if places is not None:
            self._shared.append((places, columns, values.detach()))
        self._kept.append((columns, values.detach()))
        if sum(len(of) for of, _ in self._kept) * self._columns > LARGEST_TABLE:
            self._fold()

    def add_joint(self, columns: Sequence[int], values: Tensor) -> None:
        """`values` [B, k] of k expectations, the `columns`, on the same B samples."""
        plain = _wide(values.detach())
        sums = torch.cat([plain.sum(0, keepdim=True), plain.T @ plain])
        count, before = self._joint.get(tuple(columns), (0, torch.zeros_like(sums)))
        self._joint[tuple(columns)] = count + len(plain), before + sums

    def _fold(self) -> None:
        """Sums of the kept values: one row of a table for each batch and expectation, padded by zeros.

        Each sum has an order of its own, so that every bit repeats; and what isn't finite stays in its own expectation.
        """
        if not self._kept:
            return
        rows = np.concatenate([self._columns * number + columns for number, (columns, _) in enumerate(self._kept)])
        lengths = np.bincount(rows, minlength=self._columns * len(self._kept))
        place = np.arange(lengths.max())
        there = place < lengths[:, None]
        table = np.full(there.shape, len(rows))
        table[there] = np.argsort(rows, kind="stable")
        wide = _wide(torch.cat([values for _, values in self._kept]))
        self._kept = []
        values = torch.cat([wide, wide.new_zeros(1)])[sent(table, wide.device)]
        differences = values.diff(dim=1) * sent(there[:, 1:], wide.device)
        sums = torch.stack([values.sum(1), values.square().sum(1), differences.square().sum(1)])
        sums = sums.view(3, -1, self._columns).sum(1)
        self._stratified = sums if self._stratified is None else self._stratified + sums
        self._counts += np.stack([lengths, np.maximum(lengths - 1, 0)]).reshape(2, -1, self._columns).sum(1)

    def report(self, step: int, rank: int) -> SlackReport:
        """The report of this worker for dual step `step`; the sums start anew. Waits for the device."""
        self._fold()
        total, squares, neighbours = np.zeros((3, self._columns)) if self._stratified is None else _read(self._stratified)
        count, pairs = self._counts
        draws = self._draws()
        if draws is not None:
            pairs, neighbours = np.zeros((2, self._columns))
        products: Vector | None = None
        for columns, (samples, sums) in self._joint.items():
            at, plain = list(columns), _read(sums)
            products = np.full((self._columns, self._columns), np.nan) if products is None else products
            products[np.ix_(at, at)] = plain[1:]
            count[at] += samples
            total[at] += plain[0]
            squares[at] += plain[1:].diagonal()
        self._forget()
        return SlackReport(step, rank, count, total, squares, products, np.stack([pairs, neighbours]), draws)

    def _draws(self) -> Vector | None:
        """Steps, positions, columns and values [4, n] of the draws whose batches are shared with other workers.

        Of a long dual step they are those of every k-th step: the same for all workers, whatever each has of it.
        """
        if not self._shared:
            return None
        steps = len(self._shared)
        every = min(steps, -(-steps * self._shared[0][0].size // MOST_TOLD))
        told = [each for each in self._shared if each[0].step % every == 0]
        rows = [np.stack([np.full(len(columns), at.step), at.positions, columns]) for at, columns, _ in told]
        values = _read(_wide(torch.cat([values for *_, values in told])))
        return np.concatenate([np.concatenate(rows, axis=1), values[None]])


def _wide(values: Tensor) -> Tensor:
    """In float64; on the host where the device has none."""
    return (values.cpu() if values.device.type == "mps" else values).double()


def _read(sums: Tensor) -> Vector:
    return sums.cpu().numpy()
