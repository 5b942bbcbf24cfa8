"""How many standard errors make a whole band hold: the critical value of all its statements together.

The band states of each plane, wherever it may be the highest, that it lies below the front, and of each point that it lies
above. The statements' errors are normal, and their largest has the quantile that is wanted. It is found by simulation, with their
covariance: planes of one trial at several budgets, the plane and the point of one trial, means that share trials, and trials
that were measured on common draws err together, which makes it smaller than Bonferroni's for as many statements. Planes that
lie far below the others at a budget cannot matter there, so they are left out (inequality selection: Chernozhukov, Lee and Rosen,
Intersection bounds: estimation and inference, Econometrica 81, 2013).

The draws are the same for the same numbers of trials: the seed is fixed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.special import ndtr

from dualsweep.analysis.certified.observations import Observations, Vector

#: Draws, each taken with both signs, at least; more where trials are few, which are `_NUMBERS` together, up to `_MOST_DRAWS`. The
#: quantile's own error is that of a fifth to a tenth of a percent of sweeps; with too few draws critical values were 2 % off.
_DRAWS, _NUMBERS, _MOST_DRAWS = 4000, 640_000, 32_000
#: A plane cannot matter where it lies below another by so many errors of each.
_SELECTED = 2.0
#: At so many budgets of those where it may be the highest a plane is held against its margin.
_PLACES = 17
#: An error of a multiplier counts so many times in a plane's margin, which grows faster away from its trial for it. So planes
#: matter near their own trials only, where fewer of their errors compete to be the largest, and all margins are smaller there.
#: Few trials are wider apart and want the smaller one, many on common draws the larger one.
LEVERS = (1.25, 1.5, 3.0)
#: No plane's margin is below this part of the largest one: draws are of single precision, whose rounding would be many of it.
_LEAST = 1e-6
#: The errors of so many points are drawn at a time.
_TOGETHER = 64
#: The critical value that margins are shared out for; it needs to be about right only.
_TYPICAL = 3.0


@dataclass(frozen=True)
class Noise:
    """Draws of the trials' errors: of their own heights [n, R], and of their multipliers [n, K, R]."""

    own: Vector
    prices: Vector

    @classmethod
    def of(cls, trials: Observations) -> Noise:
        rng, size = np.random.default_rng(0), len(trials)
        draws = min(max(_DRAWS, _NUMBERS // size), _MOST_DRAWS)
        own = rng.standard_normal((size, draws))
        covariance = trials.own_covariance
        errors = np.sqrt(np.maximum(np.diag(covariance), 0.0))
        if trials.covariance is not None:
            scale = np.where(errors > 0, errors, 1.0)
            # of the correlations, so that rounding is small beside the least of the errors and not beside the largest
            values, vectors = np.linalg.eigh(covariance / np.outer(scale, scale))
            own = (vectors * np.sqrt(np.maximum(values, 0.0))) @ own
        own *= errors[:, None]
        prices = rng.standard_normal((size, len(trials.shared), draws)) * trials.multiplier_errors[:, :, None]
        return cls(own.astype(np.float32), prices.astype(np.float32))


@dataclass(frozen=True)
class Planes:
    """Means of the trials' planes with weights [P, n]: their `heights` [N, P] at budgets `at` [N, m], and what to take off.

    `margins` [N, P] is that for a critical value of 1: the standard error, with errors of multipliers counted some times.
    """

    weights: Vector
    at: Vector
    heights: Vector
    margins: Vector

    @classmethod
    def choices(cls, trials: Observations, weights: Vector, intercepts: Vector, at: Vector) -> list[Planes]:
        """Planes with margins by each of `LEVERS`, from the intercepts [n] of the trials' planes, d_j of d_j - lambda_j . b."""
        heights = weights @ intercepts - at @ (weights @ trials.prices).T
        own, factors = point_errors(trials, weights) ** 2, stretch(trials, weights)
        # sum_j w_j^2 e_jk^2 (g_jk - b_k)^2 is a parabola in each b_k: all planes at all budgets in one product
        squares, errors, basis, parabolas = weights**2, trials.multiplier_errors**2, [], []
        for k, budget in enumerate(trials.shared):
            middle = at[:, budget].mean()
            off, b = trials.values[:, k] - middle, at[:, budget] - middle
            basis += [np.ones(len(at)), -2.0 * b, b**2]
            parabolas += [squares @ (errors[:, k] * off**power) for power in (2, 1, 0)]
        turned = np.column_stack(basis) @ np.array(parabolas) if basis else np.zeros(heights.shape)
        by_lever = []
        for lever in LEVERS:
            margins = lever**2 * turned  # in place from here on: of many trials it is the memory that takes the time
            margins += own
            np.sqrt(np.maximum(margins, 0.0, out=margins), out=margins)
            margins *= factors
            by_lever.append(cls(weights, at, heights, np.maximum(margins, _LEAST * margins.max(initial=0.0), out=margins)))
        return by_lever

    def binding(self) -> dict[int, NDArray[np.intp]]:
        """Each plane that may be the highest somewhere, with rows [B] of `at` that span where."""
        off = _SELECTED * self.margins
        best = (self.heights - off).max(axis=1, keepdims=True, initial=-np.inf)
        may = np.ascontiguousarray((np.add(self.heights, off, out=off) >= best).T)  # [P, N]
        spanning_rows = {}
        for plane in np.flatnonzero(may.any(axis=1)):
            rows = np.flatnonzero(may[plane])
            budgets = self.at[rows]
            if budgets.shape[1] == 1:  # a plane's error in margins may be largest between the ends
                rows = rows[np.argsort(budgets[:, 0])]
                places = np.linspace(0, len(rows) - 1, min(_PLACES, len(rows))).astype(np.intp)
            else:
                places = np.array(sorted({*budgets.argmin(axis=0), *budgets.argmax(axis=0), len(rows) // 2}))
            spanning_rows[int(plane)] = rows[places]
        return spanning_rows


def point_errors(trials: Observations, weights: Vector) -> Vector:
    """Standard errors [Q] of means of the trials' own heights with weights [Q, n]."""
    if trials.covariance is None:
        variances = weights**2 @ trials.own_variances
    else:
        variances = ((weights @ trials.own_covariance) * weights).sum(axis=1)
    result: Vector = np.sqrt(np.maximum(variances, 0.0))
    return result


def stretch(trials: Observations, weights: Vector) -> Vector:
    """How many critical values the margins of means with weights [P, n] are, [P]: fewer of trials with larger errors.

    The mean margin sum_j c_j sigma_j is least for a given chance sum_j isf(c_j) where c_j^2 = c^2 - 2 log(sigma_j / sigma).
    """
    own = np.sqrt(trials.own_variances)
    typical = float(np.sqrt(np.mean(own**2)))
    ratio = np.maximum(own / typical, 1e-6) if typical > 0 else np.ones_like(own)
    each = np.sqrt(np.clip(1.0 - 2.0 * np.log(ratio) / _TYPICAL**2, 0.6, 1.7))
    return np.asarray(weights @ each)


def point_margins(trials: Observations, weights: Vector) -> Vector:
    """What to add [Q] to means of points with weights [Q, n] for a critical value of 1: the standard error, and for bending.

    An error of g moves a point along its plane, above which the front bends by 1/2 k e^2 for an error e and a curvature k. The
    largest k e^2 = (lambda_j - lambda_i) . (g_i - g_j) / s^2 of a chord to a trial s errors away is taken, near ones for further.
    """
    sure = np.where(trials.value_errors > 0, trials.value_errors, np.nan)
    away = trials.values[None, :, :] - trials.values[:, None, :]
    turned = ((trials.multipliers[:, None, :] - trials.multipliers[None, :, :]) * away).sum(axis=2)
    far = np.maximum(np.nansum((away / sure[:, None, :]) ** 2, axis=2), _TYPICAL**2)
    own, sigma = np.einsum("jab,jb->ja", trials.within_covariance, trials.loads)[:, 1:], np.sqrt(trials.own_variances)
    own /= np.where(sigma > 0, sigma, np.nan)[:, None]
    correlated = np.minimum(np.nansum((own / sure) ** 2, axis=1), 1.0)
    bend = 0.5 * np.max(turned / far, axis=1, initial=0.0) * (trials.value_errors > 0).any(axis=1)
    bends = bending(bend, sigma, correlated, _TYPICAL) / _TYPICAL
    result: Vector = stretch(trials, weights) * (point_errors(trials, weights) + weights @ bends)
    return result


def bending(bend: Vector, sigma: Vector, correlated: Vector, c: float) -> Vector:
    """What c sigma lacks [n] to hold sigma x + bend z^2 about as often as |normal| <= c, for standard normal x and z.

    `correlated` [n] is the squared correlation of x and z. Where x is c, z^2 is in the mean 1 + (c^2 - 1) correlated, taken for
    1 + c^2 correlated. Where bending outweighs sigma, as where a front ends flat and points have no error of height, it is off by
    itself: the largest sigma x + bend z^2 with x^2 + z^2 = c^2 is c sigma + bend (c - sigma / (2 bend))^2.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        alone = np.where(bend > 0, np.maximum(c - sigma / (2.0 * bend), 0.0) ** 2, 0.0)
    result: Vector = bend * np.maximum(1.0 + c**2 * correlated, alone)
    return result


def critical(trials: Observations, choices: Sequence[Planes], points: Vector, z: float) -> list[float]:
    """For each choice of planes the factor on their margins and on those of points, means with weights [Q, n], at which all of
    them hold together as often as |normal| <= z.

    Planes and points have one factor. To share the chance out between them by what makes the band narrowest gained 0.1 % of its
    width, and cost 1 % of its coverage.
    """
    if z <= 0:
        return [0.0] * len(choices)
    noise = Noise.of(trials)
    of_points = _of_points(noise, points, stretch(trials, points) * point_errors(trials, points))
    largest = [np.maximum(of_points, of_planes) for of_planes in _of_planes(trials, choices, noise)]
    return [float(np.quantile(each, 2.0 * ndtr(z) - 1.0)) for each in largest]


def _of_points(noise: Noise, points: Vector, margins: Vector) -> Vector:
    """The largest of the errors of points, means with weights [Q, n], in units of their margins [Q], in each of 2 R draws: those
    given and their negatives.

    A few points at a time, whose errors stay in the processor's cache; most are means of few trials.
    """
    high, low = np.zeros((2, noise.own.shape[1]), np.float32)
    scaled = csr_array((points / np.where(margins > 0, margins, np.inf)[:, None]).astype(np.float32))
    for start in range(0, len(points), _TOGETHER):
        errors = np.asarray(scaled[start : start + _TOGETHER] @ noise.own)
        np.maximum(high, errors.max(axis=0), out=high)
        np.minimum(low, errors.min(axis=0), out=low)
    return np.concatenate([high, -low])


def _of_planes(trials: Observations, choices: Sequence[Planes], noise: Noise) -> list[Vector]:
    """For each choice the largest over the planes, each where it may be the highest; of points the negatives are meant, so these
    come first.

    A plane at a time: its errors at all its budgets are few numbers times few rows of draws, which stay in the processor's cache.
    """
    high, low = np.zeros((2, len(choices), noise.own.shape[1]), np.float32)
    middle = trials.values.mean(axis=0)  # so that single precision is enough
    moved = noise.own + ((trials.values - middle).astype(np.float32)[:, :, None] * noise.prices).sum(axis=1)
    parts, binding = np.concatenate([moved[:, None], noise.prices], axis=1), [planes.binding() for planes in choices]
    for plane in sorted(set().union(*binding)):
        weights = choices[0].weights[plane]
        some = np.flatnonzero(weights)
        draws = np.einsum("j,jkr->kr", weights[some].astype(np.float32), parts[some]) if len(some) > 1 else parts[some[0]]
        for choice, (planes, places) in enumerate(zip(choices, binding, strict=True)):
            if plane not in places:
                continue
            at, margins = planes.at[places[plane]][:, trials.shared], planes.margins[places[plane], plane]
            turns = np.column_stack([np.ones(len(at)), middle - at]) / np.where(margins > 0, margins, np.inf)[:, None]
            errors = turns.astype(np.float32) @ draws
            np.maximum(high[choice], errors.max(axis=0), out=high[choice])
            np.minimum(low[choice], errors.min(axis=0), out=low[choice])
    return list(np.concatenate([-low, high], axis=1))
