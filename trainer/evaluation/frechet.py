"""The Fréchet distance between two sets of images, in a judge's features (Heusel et al. 2017, arXiv 1706.08500).

    d^2 = |mu_1 - mu_2|^2 + tr(S_1 + S_2 - 2 (S_1 S_2)^(1/2))

the squared 2-Wasserstein distance of the Gaussians fitted to the features (Dowson and Landau 1982). It is called FID where
the features are those of Inception; these are not, so compare values under the same judge and sample count only (few
samples bias it upwards: Chong and Forsyth 2020, arXiv 1911.07023).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trainer.evaluation.asking import embed
from trainer.evaluation.evidence import Evidence, NotMeasured, needed_judge
from trainer.evaluation.images import Rows

Reals = NDArray[np.float64]


def frechet(evidence: Evidence) -> dict[str, float]:
    """`frechet`: the samples against all the data before thinning, so that a class that was thinned away counts.

    Raises:
        NotMeasured: no judge, or fewer than two images on either side.
    """
    judge, fewest = needed_judge(evidence), min(len(evidence.samples), len(evidence.everything))
    if fewest < 2:
        raise NotMeasured(f"it needs at least 2 images on either side, and there are {fewest}; raise evaluation.samples")
    return {"frechet": distance(embed(judge, Rows.of(evidence.samples)), embed(judge, evidence.everything))}


def distance(first: Reals, second: Reals) -> float:
    """The squared Fréchet distance between features [N, F] and [M, F].

    Raises:
        ValueError: fewer than two rows, whose covariance is not defined, or rows of unequal width.
    """
    for features in (first, second):
        if len(features) < 2:
            raise ValueError(f"the Fréchet distance needs at least 2 images on either side, but got {len(features)}; give more")
    if first.shape[1] != second.shape[1]:
        raise ValueError(f"features must be of one width, but got {first.shape[1]} and {second.shape[1]}; use one judge for both")
    return between_gaussians(first.mean(axis=0), _covariance(first), second.mean(axis=0), _covariance(second))


def between_gaussians(mean_1: Reals, covariance_1: Reals, mean_2: Reals, covariance_2: Reals) -> float:
    """The formula above, for means [F] and covariances [F, F].

    S_1 S_2 has the eigenvalues of the symmetric R S_2 R with R = S_1^(1/2), so the trace of its root is the sum of their
    roots: no root of an unsymmetric matrix, and singular covariances (fewer samples than features) do no harm.
    """
    values, vectors = np.linalg.eigh(covariance_1)
    root = (vectors * np.sqrt(values.clip(min=0.0))) @ vectors.T
    product = root @ covariance_2 @ root
    overlap = np.sqrt(np.linalg.eigvalsh((product + product.T) / 2).clip(min=0.0)).sum()
    apart = mean_1 - mean_2
    squared = apart @ apart + np.trace(covariance_1) + np.trace(covariance_2) - 2.0 * overlap
    return max(0.0, float(squared))


def _covariance(features: Reals) -> Reals:
    """The unbiased covariance [F, F] of rows [N, F]."""
    centred = features - features.mean(axis=0)
    result: Reals = centred.T @ centred / (len(features) - 1)
    return result
