"""The multipliers of an amortised training: those that each sample of a step is drawn with, and those that are measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dualsweep.trainer.dual.problem import Booleans, ConstrainedProblem, Vector
from dualsweep.trainer.recipe.bound import RELATIVE_LIMIT
from dualsweep.trainer.rng import Stream, generator

#: A multiplier, or the sum of relative ones, above this part of its largest is there: it was read off a fitted front.
AT_THE_END = 0.99


@dataclass(frozen=True)
class MultiplierRange:
    """The range of the multipliers of a problem: `low` and `high` [m], `zeros` the share of draws that are exactly 0."""

    problem: ConstrainedProblem
    low: Vector
    high: Vector
    zeros: float
    seed: int

    @property
    def size(self) -> int:
        """The number m of multipliers."""
        return len(self.low)

    def multipliers(self, units: Vector) -> Vector:
        """Multipliers [n, m] at units [n, m] in [0, 1]: low ((1 + high / low)^unit - 1), within the dual's domain.

        Where the sum over relative constraints would leave it, these are scaled together.
        """
        unscaled = self.low * np.expm1(units * np.log1p(self.high / self.low))
        total = unscaled[:, self.problem.relative].sum(axis=1, keepdims=True)
        scale = np.minimum(1.0, RELATIVE_LIMIT / np.maximum(total, 1e-300))
        result: Vector = np.where(self.problem.relative, unscaled * scale, unscaled)
        return result

    def units(self, multipliers: Vector) -> Vector:
        """The inverse of `multipliers`, shape [n, m]."""
        result: Vector = np.log1p(multipliers / self.low) / np.log1p(self.high / self.low)
        return result

    def held_by_sum(self, multipliers: Vector) -> Booleans:
        """Which of `multipliers` [..., m] are relative ones above 0 whose sum is at its limit."""
        full = multipliers[..., self.problem.relative].sum(axis=-1, keepdims=True) >= AT_THE_END * RELATIVE_LIMIT
        result: Booleans = self.problem.relative & full & (multipliers > 0)
        return result

    def at_end(self, multipliers: Vector) -> Booleans:
        """Which of `multipliers` [..., m] cannot be larger: those at the end of their own range or held by their sum."""
        result: Booleans = (multipliers >= AT_THE_END * self.high) | self.held_by_sum(multipliers)
        return result

    def largest(self, multipliers: Vector) -> list[str]:
        """What each of `multipliers` [m] is held by at its end, in words."""
        by_sum, held = f"the largest sum of relative multipliers, {RELATIVE_LIMIT:g}", self.held_by_sum(multipliers)
        return [by_sum if held[i] else f"the largest multiplier of the range, {high:g}" for i, high in enumerate(self.high)]

    def draw(self, step: int, total: int, more: int = 0) -> tuple[Vector, Vector]:
        """Multipliers [total, m] of the global batch of primal step `step`, and `more` uniform numbers beside each.

        Successive places of one low-discrepancy sequence in m + `more` dimensions, so that a few steps already cover the range
        evenly, and so does every shard; each sample has multipliers of its own, since that costs nothing.
        """
        uniform = sequence(self.seed, step * total, total, self.size + more)
        own = uniform[:, : self.size]
        units = np.where(own < self.zeros, 0.0, (own - self.zeros) / (1.0 - self.zeros))
        return self.multipliers(units), uniform[:, self.size :]

    def measured(self, points: int) -> Vector:
        """The multipliers [points, m] at which a trained network is measured: none, then evenly over the range.

        With several constraints a quarter of them are alike in all, which is where tied budgets lead, and of the others a fifth
        are on each face.
        """
        if self.size == 1:
            return self.multipliers(np.linspace(0.0, 1.0, points)[:, None])
        alike = np.linspace(0.0, 1.0, max(3, points // 4))[:, None].repeat(self.size, axis=1)
        apart = sequence(self.seed, 0, points - len(alike), self.size)
        return self.multipliers(np.concatenate([alike, np.where(apart < 0.2, 0.0, (apart - 0.2) / 0.8)]))


def sequence(seed: int, first: int, count: int, size: int) -> Vector:
    """Terms `first` to `first + count` of an additive recurrence modulo 1 in [0, 1)^size, shifted by the seed.

    The multiples of (1 / phi, 1 / phi^2, …), phi the root of phi^(size + 1) = phi + 1: for one dimension the golden ratio
    (Roberts 2018, *The unreasonable effectiveness of quasirandom sequences*).
    """
    phi = 2.0
    for _ in range(60):
        phi = (1.0 + phi) ** (1.0 / (size + 1))
    steps = phi ** -np.arange(1.0, size + 1)
    shift = generator(seed, Stream.MULTIPLIERS).random(size)
    result: Vector = (shift + np.arange(first, first + count)[:, None] * steps) % 1.0
    return result
