"""Which value of a constraint likely gives a wanted share of the samples, by the trials of a sweep.

A constraint bounds the loss of some classes; what people want is how often these are sampled. Over the trials the log-odds of
the share are taken to be linear in the value that the constraint attained,

    log p / (1 - p) = a + b v,

by weighted least squares on empirical log-odds (half a count on either side; Haldane, Annals of Human Genetics 20, 1956). Their
variance is 1 / n p (1 - p) at the fitted p, and one more that all trials share, tau^2: what other settings, seeds and
unfinished trainings make of the same value. It is such that the residuals are as large as they should be (Paule, Mandel, Journal
of Research of the National Bureau of Standards 87, 1982). The wanted share p has the value (log p / (1 - p) - a) / b, whose
interval is Fieller's (Quarterly Journal of the Royal Statistical Society 7, 1940), with Student's t of n - 2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit, logit, stdtrit

Vector = NDArray[np.float64]
#: Trials with different values that a line and its scatter are told from.
LEAST = 4
_ROUNDS, _STILL, _LEVEL = 30, 1e-9, 0.95


@dataclass(frozen=True)
class WantedShare:
    """The value that likely gives the share, and the ends of its 95 % interval; `within` the values that trials attained or not.

    `value` is NaN where the shares do not follow the values beyond noise.
    """

    value: float
    low: float
    high: float
    within: bool


def value_for(wanted: float, values: Vector, shares: Vector, count: int) -> WantedShare | None:
    """The value for a share `wanted` in (0, 1), from trials' `values` and `shares` [n] of `count` samples each.

    None where fewer than `LEAST` different values are known.
    """
    if len(np.unique(values)) < LEAST:
        return None
    centre, scale = float(values.mean()), float(np.ptp(values))
    fitted, covariance = _log_odds((values - centre) / scale, shares, count)
    intercept, slope = fitted
    z = float(stdtrit(len(values) - 2, 0.5 + _LEVEL / 2))
    # (t - a - b x)^2 <= z^2 (Vaa + 2 x Vab + x^2 Vbb), a bounded interval where b differs from 0 at this level.
    target, noise = float(logit(wanted)) - intercept, z**2 * covariance
    square = slope**2 - noise[1, 1]
    if square <= 0:
        return WantedShare(math.nan, math.nan, math.nan, within=False)
    middle, constant = -(slope * target + noise[0, 1]), target**2 - noise[0, 0]
    reach = math.sqrt(max(0.0, middle**2 - square * constant))
    value, low, high = (
        centre + scale * each for each in (target / slope, (-middle - reach) / square, (-middle + reach) / square)
    )
    return WantedShare(value, low, high, bool(values.min() <= value <= values.max()))


def _log_odds(at: Vector, shares: Vector, count: int) -> tuple[Vector, Vector]:
    """Intercept and slope, and their covariance [2, 2]."""
    design, hits = np.column_stack([np.ones(len(at)), at]), shares * count
    odds = np.log((hits + 0.5) / (count - hits + 0.5))
    fitted: Vector = np.array([float(odds.mean()), 0.0])
    covariance: Vector = np.eye(2)
    for _ in range(_ROUNDS):
        expected = expit(design @ fitted)
        binomial = 1.0 / ((count + 1.0) * np.maximum(expected * (1.0 - expected), 1.0 / (count + 1.0)))

        def surplus(more: float, binomial: Vector = binomial) -> float:
            left = odds - design @ _least_squares(design, odds, binomial + more)[0]
            return float((left**2 / (binomial + more)).sum()) - (len(at) - 2)

        most = float(np.var(odds)) * len(at)
        shared = float(brentq(surplus, 0.0, most)) if surplus(0.0) > 0 > surplus(most) else 0.0
        before = fitted
        fitted, covariance = _least_squares(design, odds, binomial + shared)
        if float(np.abs(fitted - before).max()) < _STILL:
            break
    return fitted, covariance


def _least_squares(design: Vector, odds: Vector, variances: Vector) -> tuple[Vector, Vector]:
    weighted = design / variances[:, None]
    covariance: Vector = np.linalg.inv(design.T @ weighted).astype(np.float64)
    fitted: Vector = covariance @ (weighted.T @ odds)
    return fitted, covariance
