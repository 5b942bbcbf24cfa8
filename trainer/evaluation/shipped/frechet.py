"""The Fréchet distance between two sets of images, in a judge's features (Heusel et al. 2017, arXiv 1706.08500).

    d^2 = |mu_1 - mu_2|^2 + tr(S_1 + S_2 - 2 (S_1 S_2)^(1/2))

the squared 2-Wasserstein distance of the Gaussians fitted to the features (Dowson and Landau 1982). It is called FID where
the features are those of Inception; these are not, so compare values under the same judge only. Few samples bias the plain
formula upwards (Chong and Forsyth 2020, arXiv 1911.07023); `jackknife.py` beside takes the bias out and tells an error.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from dualsweep.trainer.evaluation.evidence import Evidence, NotMeasured, needed_judge
from dualsweep.trainer.evaluation.images import Rows
from dualsweep.trainer.evaluation.jackknife import jackknifed
from dualsweep.trainer.evaluation.judge_protocol import embed
from dualsweep.trainer.evaluation.shares import Z

Reals = NDArray[np.float64]
#: Samples a feature below which the covariance says too little for a correction.
LEAST_PER_FEATURE = 4
#: Errors from 0 below which the distance is at an edge: no error describes it, an interval does.
APART = 3.0


def frechet(evidence: Evidence) -> dict[str, float]:
    """`frechet`: the samples' distribution against all the data before thinning, so that a class that was thinned away counts.

    With at least `LEAST_PER_FEATURE` samples a feature its bias is taken out, and it has `frechet_low` and `frechet_high`, a 95 %
    interval over the samples, and, `APART` from 0, `frechet_error`. With fewer it is the plain formula.

    Raises:
        NotMeasured: no judge, or fewer than two images on either side.
    """
    judge, fewest = needed_judge(evidence), min(len(evidence.samples), len(evidence.everything))
    if fewest < 2:
        raise NotMeasured(f"it needs at least 2 images on either side, and there are {fewest}; raise evaluation.samples")
    samples, data = embed(judge, Rows.of(evidence.samples)), embed(judge, evidence.everything)
    if len(samples) < LEAST_PER_FEATURE * samples.shape[1]:
        return {"frechet": distance(samples, data)}
    _check(samples, data)
    estimate, error = jackknifed(partial(to_gaussian, *_rooted(data)), samples)
    low, high = (max(0.0, estimate + sign * Z * error) for sign in (-1.0, 1.0))
    told = {"frechet": max(0.0, estimate), "frechet_low": low, "frechet_high": high}
    return told | ({"frechet_error": error} if estimate >= APART * error else {})


def distance(first: Reals, second: Reals) -> float:
    """The squared Fréchet distance between features [N, F] and [M, F], by the plain formula.

    Raises:
        ValueError: fewer than two rows, whose covariance is not defined, or rows of unequal width.
    """
    _check(first, second)
    return between_gaussians(first.mean(axis=0), _covariance(first), second.mean(axis=0), _covariance(second))


def _check(first: Reals, second: Reals) -> None:
    for features in (first, second):
        if len(features) < 2:
            raise ValueError(f"the Fréchet distance needs at least 2 images on either side, but got {len(features)}; give more")
    if first.shape[1] != second.shape[1]:
        raise ValueError(f"features must be of one width, but got {first.shape[1]} and {second.shape[1]}; use one judge for both")


def between_gaussians(mean_1: Reals, covariance_1: Reals, mean_2: Reals, covariance_2: Reals) -> float:
    """The formula above, for means [F] and covariances [F, F].

    S_1 S_2 has the eigenvalues of the symmetric R S_2 R with R = S_1^(1/2), so the trace of its root is the sum of their
    roots: no root of an unsymmetric matrix, and singular covariances (fewer samples than features) do no harm.
    """
    return max(0.0, to_gaussian(mean_1, covariance_1, _root(covariance_1), mean_2, covariance_2))


def to_gaussian(mean_1: Reals, covariance_1: Reals, root: Reals, mean_2: Reals, covariance_2: Reals) -> float:
    """The formula with R = `root` at hand; rounding may leave it below 0."""
    product = root @ covariance_2 @ root
    overlap = np.sqrt(np.linalg.eigvalsh((product + product.T) / 2).clip(min=0.0)).sum()
    apart = mean_1 - mean_2
    return float(apart @ apart + np.trace(covariance_1) + np.trace(covariance_2) - 2.0 * overlap)


def _rooted(features: Reals) -> tuple[Reals, Reals, Reals]:
    """Mean [F], covariance [F, F] and its root of rows [M, F]."""
    covariance = _covariance(features)
    return features.mean(axis=0), covariance, _root(covariance)


def _root(covariance: Reals) -> Reals:
    values, vectors = np.linalg.eigh(covariance)
    result: Reals = (vectors * np.sqrt(values.clip(min=0.0))) @ vectors.T
    return result


def _covariance(features: Reals) -> Reals:
    """The unbiased covariance [F, F] of rows [N, F]."""
    centred = features - features.mean(axis=0)
    result: Reals = centred.T @ centred / (len(features) - 1)
    return result
