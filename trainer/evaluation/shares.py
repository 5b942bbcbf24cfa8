"""Shares of classes from counts of samples, and how sure they are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, ndtr, ndtri

Reals = NDArray[np.float64]
Integers = NDArray[np.int64]
#: Of intervals.
CONFIDENCE = 0.95
#: The normal deviate of its ends.
Z = float(ndtri(0.5 + CONFIDENCE / 2))
#: Expected counts below which a share has an interval but no error.
FEWEST = 5.0


def tallies(probabilities: Reals) -> Integers:
    """How many [K] of the rows of `probabilities` [N, K] have k as their likeliest class (the first of equals)."""
    return np.bincount(probabilities.argmax(axis=1), minlength=probabilities.shape[1])


def share_errors(counts: Integers) -> Reals:
    """The binomial standard errors [K] of shares, from `counts` [K].

    A third of a count on either side makes it the median estimate: few counts then do not understate it. NaN where fewer than
    `FEWEST` counts are expected on a side, by the one-sided exact limit at `CONFIDENCE`: there an interval tells, no error.
    """
    total = counts.sum()
    share = (counts + 1.0 / 3.0) / (total + 2.0 / 3.0)
    sides = np.stack([counts, total - counts])
    most = betaincinv(sides + 1.0, np.maximum(total - sides, 0.5), CONFIDENCE) * total
    result: Reals = np.where((most < FEWEST).any(0), np.nan, np.sqrt(share * (1.0 - share) / total))
    return result


def share_intervals(counts: Integers) -> tuple[Reals, Reals]:
    """The ends [K] of exact binomial intervals at `CONFIDENCE` (Clopper and Pearson, Biometrika 26, 1934)."""
    total, tail = counts.sum(), (1.0 - CONFIDENCE) / 2
    low = np.where(counts > 0, betaincinv(np.maximum(counts, 0.5), total - counts + 1.0, tail), 0.0)
    high = np.where(counts < total, betaincinv(counts + 1.0, np.maximum(total - counts, 0.5), 1.0 - tail), 1.0)
    return low, high


def tv_from_uniform(found: Reals) -> float:
    """1/2 sum_k |p_k - 1/K|: 0 for equal shares, 1 - 1/K for a single class."""
    return float(0.5 * np.abs(found - 1.0 / len(found)).sum())


def tv_interval(counts: Integers) -> tuple[float, float]:
    """An interval at `CONFIDENCE` for the total-variation distance of the true shares from uniform.

    Its estimate is biased upwards, by 1/2 sum_k (E|d_k + e_k| - |d_k|) with d_k the true deviation of share k and e_k its noise:
    by nothing where d_k is far from 0 and by the most, sqrt(2 / pi) of e_k's deviation, where it is 0. The upper end takes it as
    0, the lower end as the most that d_k still allows. With s_k the signs of the deviations, sum_k s_k p_k / 2 has the variance
    (1 - (sum_k s_k p_k)^2) / 4n.
    """
    total, size = counts.sum(), len(counts)
    share = (counts + 0.5) / (total + size / 2)
    noise = np.sqrt(share * (1.0 - share) / total)
    away = counts / total - 1.0 / size
    nearest = np.maximum(0.0, np.abs(away) - Z * noise)
    ratio = nearest / noise
    folded = noise * (np.sqrt(2 / np.pi) * np.exp(-0.5 * ratio**2) + ratio * (1.0 - 2.0 * ndtr(-ratio))) - nearest
    error = np.sqrt(max(0.0, 1.0 - float(np.sign(away) @ share) ** 2) / (4.0 * total))
    found, highest = tv_from_uniform(counts / total), 1.0 - 1.0 / size
    return max(0.0, found - 0.5 * float(folded.sum()) - Z * error), min(highest, found + Z * error)
