"""The global batch of one primal step: how many samples from each part, which ones, at which timesteps, weighed how.

For fixed multipliers the Lagrangian is the expected loss over the mixture of the objective's and the constraints'
distributions ([CDM] §3), so a primal step costs one batch however many constraints there are. Each part (0: objective,
1 + i: constraint i) has a floor, so that its slack is estimated in every batch; weights undo the floor's distortion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from dualsweep.trainer.amortised.spread import MultiplierRange
from dualsweep.trainer.dual.problem import Vector
from dualsweep.trainer.recipe.train import Train
from dualsweep.trainer.rng import Stream, generator, uniforms
from dualsweep.trainer.terms.timesteps import Timesteps

Integers = NDArray[np.int64]
#: Each byte with its bits in reverse order.
_REVERSED = np.packbits(np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)[:, ::-1], axis=1)[:, 0]


@dataclass(frozen=True)
class GlobalBatch:
    """B draws in the order of their positions.

    part      [B] the part each draw belongs to
    number    [B] which of its part's draws it is, counted from the run's first
    index     [B] its row in the training tensor
    timestep  [B] in 0..T-1
    weight    [B] the weights of the loss: the normalised coefficient of the part over the part's size
    multipliers  [B, m] where each draw has its own
    """

    part: Integers
    number: Integers
    index: Integers
    timestep: Integers
    weight: Vector
    multipliers: Vector | None = None

    def own(self, rank: int, world: int) -> Integers:
        """The positions [b] of worker `rank`: of every part the draws whose number is `rank` modulo `world`.

        So a worker knows what it will need of each part whatever the multipliers become. Shares differ by as many draws as
        there are parts at most.
        """
        return np.flatnonzero(self.number % world == rank)

    def uniforms(self, seed: int, stream: Stream, mine: Integers, first: Integers) -> Vector:
        """A uniform number [b] in [0, 1) for each of the draws at positions `mine` [b]: a function of (seed, part, number).

        `first` [p] are the parts' first draws in this batch.
        """
        part, number, drawn = self.part[mine], self.number[mine], np.zeros(len(mine))
        for which in np.unique(part).tolist():
            own, start = part == which, int(first[which])
            count = int((self.part == which).sum())
            drawn[own] = uniforms(seed, stream, which, range(start, start + count))[number[own] - start]
        return drawn


def allocate(coefficients: Vector, size: int, floors: Integers) -> Integers:
    """Sizes of the parts [p], summing to `size`: proportional to `coefficients` by largest remainders, at least `floors`.

    Raises:
        ValueError: the batch does not hold the floors.
    """
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


def sizes(coefficients: Vector, columns: Integers, train: Train) -> Integers:
    """How many samples each part [p] has in a batch; `columns` [p] says which is the objective's (0).

    `mixture`: shares of one batch by what the Lagrangian puts on each part. `separate`, for comparison: a batch of its own
    for each constraint, whose cost grows with their number.
    """
    if train.batches == "separate":
        return np.where(columns == 0, train.batch_size, train.constraint_batch).astype(np.int64)
    return allocate(np.abs(coefficients), train.batch_size, np.where(columns == 0, 1, train.floor).astype(np.int64))


@dataclass(frozen=True)
class Parts:
    """The rows of every part's data, in groups that are drawn from with equal probability: one a part, or one a class.

    Part p's groups are `first[p] : first[p] + groups[p]`; group k's rows are `rows[starts[k] : starts[k] + lengths[k]]`.
    """

    rows: Integers
    starts: Integers
    lengths: Integers
    first: Integers
    groups: Integers

    @classmethod
    def of(cls, lists: Sequence[Integers]) -> Parts:
        """Parts of one group each: their rows are equally probable."""
        return cls.grouped([[rows] for rows in lists])

    @classmethod
    def grouped(cls, parts: Sequence[Sequence[Integers]]) -> Parts:
        """Parts of groups of rows, none of them empty where a part is drawn from."""
        lists = [rows for groups in parts for rows in groups]
        lengths = np.array([len(rows) for rows in lists], dtype=np.int64)
        groups = np.array([len(groups) for groups in parts], dtype=np.int64)
        return cls(np.concatenate(lists), np.cumsum(lengths) - lengths, lengths, np.cumsum(groups) - groups, groups)

    def within(self, rows: range) -> list[int]:
        """The parts all of whose rows are in this range."""
        ends = np.append(self.first, len(self.starts))
        spans = [self.rows[self.starts[a] : self.starts[b - 1] + self.lengths[b - 1]] for a, b in pairwise(ends) if a < b]
        return [part for part, each in enumerate(spans) if len(each) and rows.start <= each.min() and each.max() < rows.stop]

    def pick(self, part: Integers, uniform: Vector) -> Integers:
        """The rows [B] that uniform numbers [B] in [0, 1) stand for: of each one's part a group, and in it a row."""
        place = uniform * self.groups[part]
        which = np.minimum(place.astype(np.int64), self.groups[part] - 1)
        group = self.first[part] + which
        population = self.lengths[group]
        chosen = np.minimum(((place - which) * population).astype(np.int64), population - 1)
        picked: Integers = self.rows[self.starts[group] + chosen]
        return picked


@dataclass(frozen=True)
class Mixture:
    """What the batches of a run are drawn from: the rows of p parts, noised at `timesteps` by their law.

    `columns` [p] are the parts' places among the expectations; `train` and `seed` are of the recipe.
    """

    columns: Integers
    parts: Parts
    timesteps: Timesteps
    train: Train
    seed: int

    def rows(self, counts: Integers, first: Integers) -> Integers:
        """The rows of the next `counts` [p] draws of each part, from its number `first` [p] on, one part after another.

        Rows are drawn with replacement; which one a draw has is a function of (seed, part, number) alone.
        """
        places = (range(start, start + count) for start, count in zip(first.tolist(), counts.tolist(), strict=True))
        uniform = [uniforms(self.seed, Stream.EXAMPLES, part, each) for part, each in enumerate(places)]
        return self.parts.pick(np.repeat(np.arange(len(counts)), counts), np.concatenate(uniform))

    def rows_of(self, part: int, numbers: range) -> Integers:
        """The rows of the draws of one part with these numbers."""
        return self.parts.pick(np.full(len(numbers), part), uniforms(self.seed, Stream.EXAMPLES, part, numbers))


def draw(mixture: Mixture, counts: Integers, first: Integers, weights: Vector, step: int) -> GlobalBatch:
    """The batch of primal step `step`: the next `counts` [p] draws of each part, from its number `first` [p] on.

    Their mean losses count by `weights` [p]. Timesteps are stratified within each part (one in each of n equal strata), which
    lowers the variance of its mean.
    """
    part, number = numbered(counts, first)
    order, place = _by_worker(number), number - first[part]
    # The strata of a part go up with the position, so that a worker's draws of it are neighbours in t (ValueAccumulator).
    strata = np.empty_like(place)
    strata[np.argsort(part[order], kind="stable")] = place
    uniform, part = generator(mixture.seed, Stream.BATCH, step).random(len(part)), part[order]
    timestep = mixture.timesteps.at(strata + uniform, counts[part])
    weight = (weights / np.maximum(counts, 1))[part]
    return GlobalBatch(part, number[order], mixture.rows(counts, first)[order], timestep, weight)


def numbered(counts: Integers, first: Integers) -> tuple[Integers, Integers]:
    """The part and the number of the next `counts` [p] draws of each part, one part after another."""
    part = np.repeat(np.arange(len(counts)), counts)
    return part, np.arange(len(part)) - np.repeat(np.cumsum(counts) - counts - first, counts)


def own_draws(counts: Integers, first: Integers, rank: int, world: int) -> tuple[Integers, Integers]:
    """The parts and numbers of the draws that `draw` gives a worker, in the order of its positions."""
    part, number = numbered(counts, first)
    order = _by_worker(number)
    mine = order[number[order] % world == rank]
    return part[mine], number[mine]


def draw_amortised(spread: MultiplierRange, mixture: Mixture, first: Integers, step: int) -> GlobalBatch:
    """The batch of primal step `step` where each of its samples has multipliers of its own; `first` [p] as for `draw`.

    A sample's part is drawn by what its own Lagrangian puts on each, `columns` [p] of the normalised coefficients, so the batch's
    mean is an unbiased estimate of the mean of the normalised Lagrangians over the range, with no weights but signs. A mean over
    one part's draws alone is that over the range weighted by what they put on it; weights that undid that would have no bound,
    and no draw where they put nothing. Multipliers, parts and timesteps are coordinates of one low-discrepancy sequence.
    """
    size, columns = mixture.train.batch_size, mixture.columns
    multipliers, uniform = spread.draw(step, size, more=2)
    weights = spread.problem.mixture_weights(multipliers)[:, columns]
    shares = np.abs(weights).cumsum(axis=1)
    total = shares[:, -1]  # below 1 where other terms are on other sources
    part = (uniform[:, :1] * total[:, None] >= shares).sum(axis=1).clip(max=len(columns) - 1)
    counts, by_part = np.bincount(part, minlength=len(columns)), np.argsort(part, kind="stable")
    number, index = np.empty((2, size), dtype=np.int64)
    number[by_part] = np.arange(size) - np.repeat(np.cumsum(counts) - counts - first, counts)
    index[by_part] = mixture.rows(counts, first)
    timestep = mixture.timesteps.at(uniform[:, 1])
    weight = np.sign(np.take_along_axis(weights, part[:, None], axis=1)[:, 0]) * total / size
    order = _by_worker(number)
    return GlobalBatch(part[order], number[order], index[order], timestep[order], weight[order], multipliers[order])


def _by_worker(numbers: Integers) -> Integers:
    """An order [B] of draws that depends on their numbers alone, in which each worker's are together (see `GlobalBatch.own`).

    By their lowest eight bits in reverse: for any power of two up to 256, the numbers of one remainder lie together. A worker
    then makes little more than its own noise, which comes in blocks of positions; with other numbers of workers it makes more.
    """
    return np.argsort(_REVERSED[numbers & 255], kind="stable")
