"""What a final evaluation drew, value by value, and what the means of it are worth.

Values are kept as they were drawn, not as sums: an error comes from what was drawn *independently*, and that is an image, a
chain or a sample of a frozen model where several draws are of one; draws may be one of each stratum of timesteps; and values
on the same draws vary together. The statistics of one set of draws are in `dualsweep.trainer.evaluation.spread`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from dualsweep.trainer.dual.problem import Estimate, Vector
from dualsweep.trainer.evaluation.spread import MeanSpread, collapsed, evened, mean_spread

Integers = NDArray[np.int64]
Number = TypeVar("Number", np.int64, np.float64)


@dataclass(frozen=True)
class JointDraws:
    """Values [n, k] of k expectations on the same n draws, in the order in which they were drawn.

    columns     the expectations' places: 0 is the objective, 1 + i constraint i
    stages      how many were drawn at a time, the sum is n
    stratified  whether the draws of a stage are one of each of as many equal strata of the timesteps, in their order
    units       [n] the number of what was drawn independently, where a draw is of one of these: an image, a chain, a frozen
                model's sample; None where each draw is drawn anew
    groups      [n] of which kind each is, where kinds are drawn equally often by design, up to once: prompts, or classes, which
                count alike in the means; None for one
    pool        what the units are numbered in; expectations on units of one pool vary together
    beside      [n, j] what a judge said of each draw, of which no column is an expectation; None where nothing is kept
    factors     [n, k] of expectations over some of the groups alone: what these draws' values were multiplied by, 0 in the other
                groups and 1 on average over all; None where all are over all groups
    total       how many draws the means are over, of which these are the first; None where they are all
    """

    columns: tuple[int, ...]
    values: Vector
    stages: tuple[int, ...]
    stratified: bool = False
    units: Integers | None = None
    groups: Integers | None = None
    pool: str = ""
    beside: Vector | None = None
    factors: Vector | None = None
    total: int | None = None

    def joined(self, later: JointDraws) -> JointDraws:
        """These draws and those of a later stage of the same expectations."""
        if self.columns != later.columns:
            raise ValueError(f"stages must be of the same expectations, but got {self.columns} and {later.columns}")
        return replace(
            self,
            values=np.concatenate([self.values, later.values]),
            stages=self.stages + later.stages,
            units=_joined(self.units, later.units),
            groups=_joined(self.groups, later.groups),
            beside=_joined(self.beside, later.beside),
            factors=_joined(self.factors, later.factors),
        )

    @property
    def mean(self) -> Vector:
        """The means [k] of the expectations, each group counting alike; n is at least 1.

        Those over some groups are of the draws that these had (Cochran, *Sampling Techniques*, 1977, 2.12): NaN without any.
        """
        return self._mean(self.values, self.factors)

    def composition(self, column: int, within: slice) -> Vector:
        """The mean of what is `beside`, within these columns of it, over the same draws as that of the expectation `column`."""
        if self.beside is None:
            raise ValueError("draws of shares must have the judge's probabilities beside them, but got none; keep `beside`")
        own = None if self.factors is None else self.factors[:, [self.columns.index(column)]]
        return self._mean(self.beside[:, within], own)

    def _mean(self, values: Vector, factors: Vector | None) -> Vector:
        weights = evened(self.groups)
        if weights is None and factors is None:
            plain: Vector = values.mean(0)
            return plain
        weights = np.ones(len(values)) if weights is None else weights
        with np.errstate(invalid="ignore"):
            result: Vector = weights @ values / (len(values) if factors is None else weights @ factors)
        return result

    def told(self) -> Vector:
        """[n, k]: what each draw puts into the means, numbers whose plain means scatter as these do."""
        known = np.where(np.isfinite(self.values), self.values, 0.0)  # 0 times what is not finite is to be 0
        weights = evened(self.groups)
        if weights is None and self.factors is None:
            return known
        weights = np.ones(len(known)) if weights is None else weights
        factors = np.ones_like(known) if self.factors is None else self.factors
        counted = np.maximum(weights @ factors / len(known), np.finfo(np.float64).tiny)  # whose mean is not known without any
        result: Vector = weights[:, None] * (known - factors * (weights @ known / len(known) / counted)) / counted
        return result

    @property
    def strata(self) -> Integers | None:
        """[n] the groups of `mean_spread`."""
        if self.groups is None:
            return None
        kinds = None if self.factors is None else np.unique(self.factors, axis=0, return_inverse=True)[1].ravel()
        return collapsed(self.groups, self.units, kinds)

    @property
    def counts(self) -> Integers:
        """The draws [k] of each expectation."""
        return np.full(len(self.columns), len(self.values)) if self.factors is None else np.count_nonzero(self.factors, axis=0)

    def spread(self, rows: Vector) -> MeanSpread:
        """The spread of the means of combinations `rows` [q, k] of the expectations."""
        return mean_spread(self.told() @ rows.T, self.stages, self.stratified, self.units, self.strata)

    def means(self, columns: Sequence[int]) -> Vector:
        """The means [k] of some of the expectations, 0 where one is not finite."""
        places = [self.columns.index(column) for column in columns]
        result: Vector = np.nan_to_num(self.mean[places], posinf=0.0, neginf=0.0)
        return result

    def first(self, stages: tuple[int, ...]) -> JointDraws:
        """The draws of the first stages, of which the last may be cut."""
        size = sum(stages)
        beside_values = {
            name: kept[:size] for name in ("units", "groups", "beside", "factors") if (kept := getattr(self, name)) is not None
        }
        return replace(self, values=self.values[:size], stages=stages, **beside_values)


class Calibration(Protocol):
    """An error that expectations have beside that of their draws, by what their values were measured with."""

    @property
    def columns(self) -> tuple[int, ...]: ...

    @property
    def identity(self) -> str:
        """What two trials must have the same of to have this error in common; "" where its shares tell."""
        ...

    def spread(self, rows: Vector, draws: JointDraws) -> MeanSpread:
        """What it adds to combinations `rows` [q, k] of these expectations, all of which are among `draws`."""
        ...


@dataclass(frozen=True)
class Moments:
    """Moments of q estimates: mean [q], covariance [q, q], third central moment [q], how many independent units they rest on
    [q], and the degrees of freedom [q] of the t distribution that their errors have where these are few."""

    mean: Vector
    covariance: Vector
    third: Vector
    units: Integers
    degrees: Vector

    @property
    def variance(self) -> Vector:
        """[q], NaN where fewer than two units were seen."""
        return np.diag(self.covariance).copy()


@dataclass(frozen=True)
class DrawnValues:
    """All that one evaluation of `size` = 1 + m expectations drew; each of them is in one set of joint draws at most."""

    size: int
    sets: tuple[JointDraws, ...]
    calibrations: tuple[Calibration, ...] = ()

    def joined(self, later: DrawnValues) -> DrawnValues:
        """These values and those of a later stage of the same evaluation; what they are measured with stays the same."""
        paired = zip(self.sets, later.sets, strict=True)
        return replace(self, sets=tuple(first.joined(second) for first, second in paired))

    @property
    def counts(self) -> Integers:
        """The draws [1 + m] of each expectation."""
        counts = np.zeros(self.size, dtype=np.int64)
        for draws in self.sets:
            counts[list(draws.columns)] = draws.counts
        return counts

    @property
    def mean(self) -> Vector:
        """[1 + m]; NaN of an expectation without draws, or with one that is not finite."""
        means = np.full(self.size, np.nan)
        for draws in self.sets:
            if len(draws.values):
                means[list(draws.columns)] = draws.mean
        return np.where(np.isfinite(means), means, np.nan)

    def estimate(self) -> Estimate:
        """The means with their covariances."""
        found = self.moments(np.eye(self.size))
        return Estimate(self.mean, found.variance, of_means=found.covariance)

    def moments(self, rows: Vector) -> Moments:
        """The moments of combinations `rows` [q, 1 + m] of the means: slacks are such combinations, but for their budgets."""
        mean = self.mean
        used = np.abs(rows) > 0
        value = np.where(used, rows * np.where(used, mean, 0.0), 0.0).sum(1)
        units, degrees = np.full(len(rows), np.iinfo(np.int64).max), np.full(len(rows), np.inf)
        covariance, third = np.zeros([len(rows)] * 2), np.zeros(len(rows))
        parts = self._parts(rows)
        for part in parts:
            here = used[:, part.columns].any(1)
            covariance = covariance + np.where(np.outer(here, here), part.spread.covariance, 0.0)
            third = third + np.where(here, part.spread.third, 0.0)
            units = np.where(here, np.minimum(units, part.spread.units), units)
            degrees = np.where(here, np.minimum(degrees, part.spread.degrees), degrees)
        covariance = covariance + _shared(parts)
        unknown = ~np.isfinite(value) | (used & (self.counts < 2)).any(1)
        covariance = np.where(unknown[:, None] | unknown[None, :], np.nan, covariance)
        found = np.where(unknown, np.nan, third), np.where(unknown, 0, units), np.where(unknown, 0.0, degrees)
        return Moments(value, covariance, *found)

    def _parts(self, rows: Vector) -> list[_Part]:
        """The spreads of what was drawn apart."""
        parts = [
            _Part(list(draws.columns), draws.spread(rows[:, draws.columns]), draws.pool if draws.units is not None else None)
            for draws in self.sets
            if len(draws.values)
        ]
        return parts + [_Part(list(each.columns), spread, None) for each, spread in self.calibrated(rows)]

    def calibrated(self, rows: Vector) -> list[tuple[Calibration, MeanSpread]]:
        """What each of `calibrations` adds to combinations `rows` [q, 1 + m] of the means."""
        return [(each, each.spread(rows[:, each.columns], self._draws_of(each))) for each in self.calibrations]

    def _draws_of(self, calibration: Calibration) -> JointDraws:
        return next(draws for draws in self.sets if set(calibration.columns) <= set(draws.columns))

    def variance_by(self, calibration: Calibration) -> Vector:
        """The part [k] of the variances of its expectations' means that is due to one of `calibrations`."""
        spread = calibration.spread(np.eye(len(calibration.columns)), self._draws_of(calibration))
        return np.diag(spread.covariance).copy()


@dataclass(frozen=True)
class _Part:
    """The spread of what was drawn together, its columns, and the pool of its units."""

    columns: list[int]
    spread: MeanSpread
    pool: str | None


def _shared(parts: Sequence[_Part]) -> Vector | float:
    """The covariance [q, q] that parts have by being on the same units of one pool."""
    result: Vector | float = 0.0
    for first, second in combinations(parts, 2):
        if first.pool is None or first.pool != second.pool:
            continue
        one, other = first.spread, second.spread
        _, here, there = np.intersect1d(one.numbers, other.numbers, return_indices=True)
        between = one.shares[here].T @ other.shares[there]
        result = result + between + between.T
    return result


def drawn_values(size: int, sets: Sequence[JointDraws], calibrations: Sequence[Calibration] = ()) -> DrawnValues:
    """The record of these sets.

    Raises:
        ValueError: an expectation is in two of them.
    """
    columns = [column for each in sets for column in each.columns]
    if len(set(columns)) != len(columns):
        raise ValueError(f"an expectation must be drawn in one set, but got columns {columns}")
    return DrawnValues(size, tuple(sets), tuple(calibrations))


def _joined(first: NDArray[Number] | None, second: NDArray[Number] | None) -> NDArray[Number] | None:
    return None if first is None or second is None else np.concatenate([first, second])
