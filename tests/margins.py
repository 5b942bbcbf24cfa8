"""Figures that chance moves, and how far from them the bounds of the tests stand.

A test of a drawn or trained figure takes the fixture `sampled`: it draws from `sampled.seed` and asks `sampled.near`, `at_most`
or `at_least`. The suite runs it at one seed, where these assert. `python -m tests.benchmarks.bench_margins` runs it at many,
where they keep the figure beside its bounds: neither chance nor another processor's arithmetic may carry it past them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

#: The seed of the suite; measured are others, so that no bound rests on the seed it was written at.
SEED = 0
#: How many standard deviations of its figure a bound must stand from the figure's mean over seeds.
LEAST = 4.0


@dataclass(frozen=True)
class Kept:
    """One figure at one seed: its entries and the bounds of each, all of one length; `method` as `Sampled.near` has it."""

    name: str
    found: list[float]
    low: list[float]
    high: list[float]
    method: str


@dataclass
class Sampled:
    """A test's seed and its figures; `measuring`: keep the figures, assert nothing of them."""

    seed: int = SEED
    measuring: bool = False
    kept: list[Kept] = field(default_factory=list)

    def seeds(self, count: int) -> range:
        """Seeds of `count` repetitions within the test, none of which another seed of the test has."""
        return range(self.seed * count, (self.seed + 1) * count)

    def near(
        self, name: str, found: Any, exact: ArrayLike, *, rel: ArrayLike = 0.0, abs: ArrayLike = 0.0, method: str = ""
    ) -> None:
        """Each entry of `found` is within `abs` + `rel` |exact| of `exact`.

        `name` is the figure's, once a test (in a loop it names the case). `method`: the method's own error, in words with its
        size, where that and not chance is why the bound is no nearer.
        """
        truth = np.asarray(exact, np.float64)
        within = np.asarray(abs, np.float64) + np.asarray(rel, np.float64) * np.abs(truth)
        self._keep(name, found, truth - within, truth + within, method)

    def between(self, name: str, found: Any, low: ArrayLike, high: ArrayLike, *, method: str = "") -> None:
        """Each entry of `found` is at least `low` and at most `high`; `name` and `method` as in `near`."""
        self._keep(name, found, low, high, method)

    def at_most(self, name: str, found: Any, bound: ArrayLike, *, method: str = "") -> None:
        """Each entry of `found` is at most `bound`; `name` and `method` as in `near`."""
        self._keep(name, found, -np.inf, np.asarray(bound, np.float64), method)

    def at_least(self, name: str, found: Any, bound: ArrayLike, *, method: str = "") -> None:
        """Each entry of `found` is at least `bound`; `name` and `method` as in `near`."""
        self._keep(name, found, np.asarray(bound, np.float64), np.inf, method)

    def _keep(self, name: str, figure: Any, low: ArrayLike, high: ArrayLike, method: str) -> None:
        values, below, above = np.broadcast_arrays(np.asarray(figure, np.float64), low, high)
        if values.shape != np.shape(figure):
            raise ValueError(f"the bounds of {name} must fit it, but it has shape {np.shape(figure)} and they {values.shape}")
        if self.measuring:
            if any(each.name == name for each in self.kept):
                raise ValueError(f"a figure's name must be its own in a test, but {name!r} came twice")
            figure, low, high = (each.ravel().tolist() for each in (values, below, above))
            self.kept.append(Kept(name, figure, low, high, method))
            return
        outside = ~((below <= values) & (values <= above))  # so that NaN is outside
        assert not outside.any(), f"{name} must be in [{below}, {above}], but got {values}"


@dataclass(frozen=True)
class Margin:
    """A figure over seeds: of its entries the one whose bound is nearest, in standard deviations.

    `mean` and `sd` are over the seeds, `bound` is the nearer of the entry's two, `margin` how many `sd` it stands from `mean`:
    negative where the mean itself lies outside, infinite where nothing moves, NaN for a figure that was ever not finite.
    """

    seeds: int
    mean: float
    sd: float
    bound: float
    margin: float
    method: str

    @property
    def holds(self) -> bool:
        return self.margin >= LEAST


def margin(kept: Iterable[Kept]) -> Margin:
    """The margin of one figure from what was kept of it at two seeds or more.

    Bounds that move with the seed are taken with the figure, and it in units of their half width where it has two: what counts is
    where it stands between them.
    """
    all_of_it = list(kept)
    measured, low, high = (np.array([getattr(each, key) for each in all_of_it]) for key in ("found", "low", "high"))  # [seeds, n]
    seeds, method = len(all_of_it), all_of_it[0].method
    if measured.shape[1] and not np.isfinite(measured).all():
        return Margin(seeds, np.nan, np.nan, np.nan, np.nan, method)
    nearest = Margin(seeds, np.nan, np.nan, np.nan, np.inf, method)
    for entry in range(measured.shape[1]):
        values, below, above = measured[:, entry], low[:, entry], high[:, entry]
        half = (above - below) / 2 if np.isfinite(above - below).all() else np.ones(seeds)
        for bound, room in ((below, values - below), (above, above - values)):
            if not np.isfinite(bound).all():
                continue
            inside, sd = float((room / half).mean()), float((room / half).std(ddof=1))
            stands = inside / sd if sd else np.copysign(np.inf, inside)
            if np.isnan(nearest.mean) or stands < nearest.margin:
                nearest = Margin(seeds, float(values.mean()), sd * float(half.mean()), float(bound.mean()), stands, method)
    return nearest
