"""How far the mean of drawn values lies from its expectation: its variance and third moment from the draws themselves.

Draws may be stratified, several of one independently drawn unit, and of groups that are drawn equally often. With v_j the
value of draw j, the residuals r = M v have lost what the design holds fixed: of stratified draws the trend over the strata, a
parabola through each `BIN` neighbours (in the way of collapsed strata: Wolter, *Introduction to Variance Estimation*, 2007,
8.2), else the mean; and each group's mean. With M_jj what r_j keeps of draw j's own noise,

    V = sum_j r_j^2 / M_jj / n^2  +  sum over pairs j != k of one unit of (r_j / M_jj) (r_k / M_kk) / n^2

The first sum is MacKinnon and White's HC2 (J. Econometrics 29, 1985), the second what draws of one unit have in common (Liang
and Zeger, Biometrika 73, 1986). Where draws are of units, N / (N - 1) of N units of a group restores what its mean took.
Groups of a single draw, or of draws of a single unit, tell no variance: neighbouring ones are taken together (collapsed strata:
Cochran, *Sampling Techniques*, 1977, 5A.12), so that what they differ by counts as well. Where groups are fewer draws than there
are kinds, as of 2,048 of 5,000 prompts, that they do differ is a part of the error; else V is too large by it, never too small.

V is not exact, so the error is that of a t distribution. A fit of w draws (a bin, a group, or all) gives V_b with the degrees of
freedom of HC2 (Bell and McCaffrey, Survey Methodology 28, 2002), and their sum has Satterthwaite's (Biometrics Bull. 2, 1946),
here without bias of draws that are normal:

    d_b = w^2 / sum_jk M_jk^2 / (M_jj M_kk)        d = (sum_b V_b)^2 / sum_b V_b^2 / (d_b + 2) - 2

That is n - 1 of plain draws and about 0.6 n where each `BIN` neighbours have given up a parabola, and less where few bins or
long tails make up the variance. N units of G groups have N - G.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Integers = NDArray[np.int64]
#: Neighbouring strata whose draws are fitted by one parabola. Losses by timestep are steep at the clean end: of a trend
#: 1 / (0.002 + t) over 2,048 strata it leaves 6 % too large an error, where lines leave 67 % and differences of neighbours 71 %.
BIN = 8
#: Neighbouring groups of one draw that are taken together: the fewest of which a third moment can be told.
COLLAPSED = 3


@dataclass(frozen=True)
class MeanSpread:
    """How far the means of q columns vary: covariance [q, q] and third central moment [q].

    units is how many independent draws there were, degrees [q] the degrees of freedom of the variances; numbers [N] are those of
    the units, or else of the draws, and shares [N, q] what each put into the means' errors. lasting [q] is the part of the
    variances that further draws on the same units would leave.
    """

    covariance: Vector
    third: Vector
    units: int
    degrees: Vector
    numbers: Integers
    shares: Vector
    lasting: Vector


@dataclass(frozen=True)
class _Residuals:
    """r [n, q]; own [n] = M_jj; by the mean of each fit: cubes [n], the sums over k of M_jk^3, and pairs [n], those of
    M_jk^2 / (M_jj M_kk); fit [n], the number of the fit."""

    r: Vector
    own: Vector
    cubes: Vector
    pairs: Vector
    fit: Integers

    def degrees(self, squares: Vector) -> Vector:
        """Degrees of freedom [q] of the sums of `squares` [n, q] over rows; infinite where a sum is 0."""
        fit_degrees = np.bincount(self.fit) ** 2 / np.bincount(self.fit, self.pairs)
        parts = np.stack([np.bincount(self.fit, column) for column in squares.T])
        whole = parts.sum(1)
        found = whole**2 / (parts**2 / (fit_degrees + 2.0)).sum(1) - 2.0
        return np.where(whole > 0, np.maximum(found, min(1.0, fit_degrees.sum())), np.inf)


def mean_spread(
    values: Vector, stages: Sequence[int], stratified: bool, units: Integers | None, groups: Integers | None
) -> MeanSpread:  # fmt: skip
    """The spread of the means of `values` [n, q], which `JointDraws` of `drawn.py` describes; n is at least 1.

    `groups` [n] are numbered from 0, as `collapsed` has them.
    """
    with np.errstate(all="ignore"):
        left = _residuals(values, stages, stratified, groups)
        if units is None:
            plain = left.r / np.sqrt(left.own)[:, None] / len(values)
            told = left.cubes[:, None] > 0  # a group of two draws has no third moment
            third = np.divide(left.r**3, left.cubes[:, None], np.zeros_like(left.r), where=told).sum(0) / float(len(values)) ** 3
            degrees, numbers = left.degrees(plain**2), np.arange(len(values))
            return MeanSpread(plain.T @ plain, third, len(values), degrees, numbers, plain, np.zeros(values.shape[1]))
        return _of_units(left, units, groups)


def _residuals(values: Vector, stages: Sequence[int], stratified: bool, groups: Integers | None) -> _Residuals:
    r = values.astype(np.float64)
    (own, cubes, pairs), fit = np.ones((3, len(values))), np.zeros(len(values), np.int64)
    if stratified:
        start = fits = 0
        for length in stages:
            within = slice(start, start + length)
            r[within], own[within], cubes[within], pairs[within] = _detrended(r[within])
            fit[within] = fits + np.minimum(np.arange(length) // BIN, _bins(length) - 1)
            start, fits = start + length, fits + _bins(length)
    if groups is None and stratified:
        return _Residuals(r, own, cubes, pairs, fit)
    group = np.zeros(len(values), np.int64) if groups is None else groups
    sizes = np.bincount(group).astype(np.float64)
    means = np.stack([np.bincount(group, column) for column in r.T], axis=1) / sizes[:, None]
    kept = 1.0 - 1.0 / sizes
    cube = kept**3 - (sizes - 1.0) / sizes**3
    return _Residuals(r - means[group], own * kept[group], cubes * cube[group], pairs / kept[group], fit if stratified else group)


def evened(groups: Integers | None) -> Vector | None:
    """What each of n draws counts for [n], 1 on average, so that all its groups count alike; None where they do anyway."""
    if groups is None:
        return None
    _, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if (sizes == sizes[:1]).all():
        return None
    result: Vector = len(group) / (len(sizes) * sizes[group])
    return result


def collapsed(groups: Integers, units: Integers | None, kinds: Integers | None = None) -> Integers:
    """The groups [n] numbered from 0, each of which has two draws, or of `units` two of these, if all together have.

    Those of one kind [n] are taken together first.
    """
    group = np.unique(groups, return_inverse=True)[1]
    members = group if units is None else np.unique(np.stack([group, units]), axis=1)[0]
    target, lone = np.arange(group.max() + 1), np.flatnonzero(np.bincount(members) == 1)
    kind = np.zeros(len(target), np.int64)
    kind[group] = 0 if kinds is None else kinds
    alike = [lone[kind[lone] == each] for each in np.unique(kind[lone])]
    rest = np.array([each[0] for each in alike if len(each) == 1], np.int64)
    for each in [*(each for each in alike if len(each) > 1), *([rest] if len(rest) > 1 else [])]:
        block = np.minimum(np.arange(len(each)) // COLLAPSED, max(1, len(each) // COLLAPSED) - 1)
        target[each] = each[block * COLLAPSED]
    if len(rest) == 1:
        target[rest] = target[rest - 1 if rest[0] else min(1, target[-1])]
    return np.unique(target[group], return_inverse=True)[1]


def _bins(length: int) -> int:
    return max(1, length // BIN)


def _detrended(values: Vector) -> tuple[Vector, Vector, Vector, Vector]:
    """Residuals [n, q] of parabolas through `BIN` neighbours, the last bin holding what is left; `own`, `cubes`, `pairs` [n]."""
    first = (_bins(len(values)) - 1) * BIN
    r, (own, cubes, pairs) = np.empty_like(values), np.empty((3, len(values)))
    for within, width in ((slice(0, first), BIN), (slice(first, None), len(values) - first)):
        maker = _maker(width)
        boxes = values[within].reshape(-1, width, values.shape[1])
        r[within] = np.einsum("jk,bkq->bjq", maker, boxes).reshape(-1, values.shape[1])
        own[within] = np.tile(maker.diagonal(), len(boxes))
        cubes[within] = (maker**3).sum() / width
        pairs[within] = (maker**2 / np.outer(maker.diagonal(), maker.diagonal())).sum() / width
    return r, own, cubes, pairs


@cache
def _maker(width: int) -> Vector:
    """M [width, width] that takes a fitted parabola, or of few values a line or their mean, from values."""
    place = np.arange(width) - (width - 1) / 2
    design = np.vander(place, 1 + min(2, (width - 1) // 3))
    result: Vector = np.eye(width) - design @ np.linalg.pinv(design)
    return result


def _of_units(left: _Residuals, units: Integers, groups: Integers | None) -> MeanSpread:
    numbers, unit = np.unique(units, return_inverse=True)
    group_of = np.zeros(len(numbers), np.int64)
    if groups is not None:
        group_of[unit] = groups
    many = np.bincount(group_of)[group_of]
    widen = np.sqrt(many / (many - 1.0))
    own = left.own[:, None]

    def by_unit(values: Vector) -> Vector:
        found = np.stack([np.bincount(unit, column, len(numbers)) for column in values.T], axis=1)
        result: Vector = found * widen[:, None] / len(values)
        return result

    def common(power: float) -> tuple[Vector, Vector]:
        scaled = left.r / own**power
        sums, each = by_unit(scaled), scaled * widen[unit][:, None] / len(scaled)
        return sums.T @ sums - each.T @ each, sums

    plain = left.r / np.sqrt(own) * widen[unit][:, None] / len(unit)
    covariance, shares = common(1.0)
    # Of r draws a unit, what they have in common is seen in r (r - 1) of r^2 pairs. Below two it is not told from noise.
    per_unit = len(unit) / len(numbers)
    told = covariance.diagonal() * per_unit / (per_unit - 1.0) if per_unit >= 2 else np.zeros(len(covariance))
    if np.trace(covariance) < 0:  # noise alone: scaled less, what is left is a sum of squares
        covariance = common(0.5)[0]
    degrees = np.full(covariance.shape[0], float(len(numbers) - len(np.unique(group_of))))
    whole = covariance + plain.T @ plain
    lasting = np.clip(told, 0.0, whole.diagonal())
    return MeanSpread(whole, (shares**3).sum(0), len(numbers), degrees, numbers, shares, lasting)
