"""How often each class is sampled, as the judge sees it, and how sure that is."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, ndtr, ndtri

from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.evaluation.evidence import Evidence, needed_judge
from dualsweep.trainer.evaluation.images import Rows
from dualsweep.trainer.evaluation.judge_protocol import classify

Reals = NDArray[np.float64]
Integers = NDArray[np.int64]
#: Of intervals.
CONFIDENCE = 0.95
#: The normal deviate of its ends.
Z = float(ndtri(0.5 + CONFIDENCE / 2))
#: Expected counts below which a share has an interval but no error.
FEWEST = 5.0


def class_shares(evidence: Evidence) -> dict[str, float]:
    """`share/CLASS` of every class with `share_low/CLASS`, `share_high/CLASS` and, unless it is too rare or too frequent,
    `share_error/CLASS`; and `tv_from_uniform`, the shares' total-variation distance from 1/K each, with `_low` and `_high`.

    Raises:
        TrainingError: the judge's classes are not as many as the data's.
    """
    probabilities = classify(needed_judge(evidence), Rows.of(evidence.samples))
    names = evidence.class_names or tuple(range(probabilities.shape[1]))
    if len(names) != probabilities.shape[1]:
        raise TrainingError(
            f"the judge's probabilities(x) must have a column for each of the data's {len(names)} classes, but got "
            f"{probabilities.shape[1]}; fix the judge, in the order {list(names)}"
        )
    counts, called = tallies(probabilities), metric_names(names)
    errors, (low, high) = share_errors(counts), share_intervals(counts)
    each = {
        f"{word}/{name}": float(found)
        for word, column in (
            ("share", counts / counts.sum()), ("share_error", errors), ("share_low", low), ("share_high", high)
        )
        for name, found in zip(called, column, strict=True)
        if not np.isnan(found)
    }  # fmt: skip
    least, most = tv_interval(counts)
    distance = tv_from_uniform(counts / counts.sum())
    return {**each, "tv_from_uniform": distance, "tv_from_uniform_low": least, "tv_from_uniform_high": most}


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


def metric_names(names: tuple[int | str, ...]) -> list[str]:
    """The class names as metrics of MLflow can hold them; where two would be one, their positions tell them apart."""
    legal = [re.sub(r"[^A-Za-z0-9_.\- ]", "_", str(name)) for name in names]
    # A name that is only dots would be read as a folder above.
    legal = [name if name.strip(". ") else f"class_{position}" for position, name in enumerate(legal)]
    return [name if legal.count(name) == 1 else f"{name}_{position}" for position, name in enumerate(legal)]
