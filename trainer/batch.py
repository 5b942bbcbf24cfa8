"""The global batch of one primal step: how many samples from each part, which ones, at which timesteps, weighed how.

For fixed multipliers the Lagrangian is the expected loss over the mixture of the objective's and the constraints'
distributions ([CDM] §3), so a primal step costs one batch however many constraints there are. Each part (0: objective,
1 + i: constraint i) has a floor, so that its slack is estimated in every batch; weights undo the floor's distortion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.draws import Stream, generator
from trainer.problem import Vector
from trainer.recipe import Train

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class GlobalBatch:
    """B draws in the order of their positions.

    part      [B] the part each draw belongs to
    index     [B] its row in the training tensor
    timestep  [B] in 0..T-1
    weight    [B] the weights of the loss: the normalised coefficient of the part over the part's size; they sum to 1
    """

    part: Integers
    index: Integers
    timestep: Integers
    weight: Vector


def allocate(coefficients: Vector, size: int, floor: int) -> Integers:
    """Sizes of the parts [1 + m], summing to `size`: proportional to `coefficients` by largest remainders, at least
    `floor` for each constraint and 1 for the objective.

    Raises:
        ValueError: the batch does not hold the floors.
    """
    floors = np.full(len(coefficients), floor, dtype=np.int64)
    floors[0] = 1
    if floors.sum() > size:
        raise ValueError(f"a batch must hold every part's floor, {floors.sum()} samples, but got {size}; enlarge the batch")
    result = floors.copy()
    free = np.ones(len(coefficients), dtype=bool)
    while True:
        room = size - int(floors[~free].sum())
        share = coefficients[free].sum()
        quota = np.where(free, coefficients * room / share if share > 0 else 0.0, 0.0)
        below = free & (quota < floors)
        if not below.any():
            break
        free &= ~below
    result[free] = np.floor(quota[free]).astype(np.int64)
    missing = size - int(result.sum())
    if not free.any():
        result[0] += missing
        return result
    order = np.argsort(-(quota - np.floor(quota)) + (~free) * 2.0, kind="stable")
    result[order[:missing]] += 1
    return result


def separate(coefficients: Vector, size: int, constraint_size: int) -> Integers:
    """Sizes [1 + m] with a batch of its own for each constraint, for comparison: cost grows with m."""
    sizes = np.full(len(coefficients), constraint_size, dtype=np.int64)
    sizes[0] = size
    return sizes


def sizes(coefficients: Vector, train: Train) -> Integers:
    if train.batches == "separate":
        return separate(coefficients, train.batch_size, train.constraint_batch)
    return allocate(coefficients, train.batch_size, train.floor)


@dataclass(frozen=True)
class Parts:
    """The rows of every part's data, one list after the other: part p's are `rows[starts[p] : starts[p] + lengths[p]]`."""

    rows: Integers
    starts: Integers
    lengths: Integers

    @classmethod
    def of(cls, lists: Sequence[Integers]) -> Parts:
        lengths = np.array([len(rows) for rows in lists], dtype=np.int64)
        return cls(np.concatenate(lists), np.cumsum(lengths) - lengths, lengths)


def draw(coefficients: Vector, parts: Parts, timesteps: int, train: Train, seed: int, step: int) -> GlobalBatch:
    """Draws the batch of primal step `step`.

    Rows are drawn with replacement. Timesteps are stratified within each part (one in each of n equal strata), which lowers
    the variance of its mean. Positions interleave the parts, so that every shard holds its share of each.
    """
    counts = sizes(coefficients, train)
    total = int(counts.sum())
    uniform = generator(seed, Stream.BATCH, step).random((3, total))
    part = np.repeat(np.arange(len(counts)), counts)
    place = np.arange(total) - np.repeat(np.cumsum(counts) - counts, counts)
    population = parts.lengths[part]
    chosen = np.minimum((uniform[0] * population).astype(np.int64), population - 1)
    index = parts.rows[parts.starts[part] + chosen]
    strata = np.minimum((place + uniform[1]) * timesteps / counts[part], timesteps - 1).astype(np.int64)
    weight = (coefficients / coefficients.sum() / np.maximum(counts, 1))[part]
    order = np.argsort((place + uniform[2]) / counts[part], kind="stable")
    return GlobalBatch(part[order], index[order], strata[order], weight[order])
