"""The certified band: what ended trials prove of the front between and beyond themselves.

    lower(b) = max_j  d_j - lambda_j . b - z sigma_j(b)          d_j = min_i f_i + lambda_j . g_i
    upper(b) = the lower hull of {(g_j + R_+^m, f_j + z sigma_j)}
    sigma_j(b)^2 = sigma_f^2 + sum_k (lambda_k sigma_g,k)^2 + sum_k ((g_jk - b_k) sigma_lambda,k)^2

With z = 0 and exact trainings both sides hold for certain if the problem is convex in what it is minimised over (strong
duality, [CDM] Lemma 2); with standard errors each plane holds at z of them. Taking the least Lagrangian value that any
trial has at lambda_j for d_j, instead of trial j's own, repairs planes of trainings that stopped early, as far as the other
trials can tell; no trial can, where none came near. The upper side needs no optimality, only that trials have what they report.

Sources: supporting planes and hull are the sandwich of Bokrantz and Forsgren (TRITA-MAT-2011-OS3); that dual training
supplies the planes is the envelope theorem (docs/method.md, section 1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.certified.hull import lower_hull
from analysis.certified.observations import Observations, Vector


@dataclass(frozen=True)
class Band:
    """The front's sides at N budgets: `lower` [N] <= P* <= `upper` [N]; -inf and inf where nothing is known.

    `floor` [N] is the width that another trial would leave: that at the nearest trials, where errors alone keep the band open.
    """

    lower: Vector
    upper: Vector
    floor: Vector

    @property
    def gap(self) -> Vector:
        return self.upper - self.lower

    @property
    def reducible(self) -> Vector:
        """The part [N] of the gap that another trial could remove; -inf where the band is open, so nothing is known of it."""
        return np.where(np.isfinite(self.gap), self.gap - self.floor, -np.inf)


def band(trials: Observations, at: Vector, z: float, ideal: float = -np.inf) -> Band:
    """The band at budgets `at` [N, m] with a margin of `z` standard errors; no objective is below `ideal`."""
    if not len(trials):
        return Band(np.full(len(at), ideal), np.full(len(at), np.inf), np.zeros(len(at)))
    everywhere = np.concatenate([at, trials.attained])
    least = np.min(trials.crossings, axis=0)
    planes = least - everywhere @ trials.prices.T - z * np.sqrt(trials.plane_variances(everywhere))
    lower = np.maximum(planes.max(axis=1), ideal)
    upper = lower_hull(everywhere, trials.attained, trials.objective + z * np.sqrt(trials.own_variances), trials.signed)
    count = len(at)
    return Band(lower[:count], upper[:count], _around(trials.attained, (upper - lower)[count:], at))


def _around(points: Vector, widths: Vector, at: Vector) -> Vector:
    """The mean of the `widths` [n] at the m + 1 nearest `points` [n, m] by inverse distance, for budgets `at` [N, m].

    Between two points in one dimension that is linear interpolation.
    """
    span = np.ptp(np.concatenate([at, points]), axis=0)
    apart = (((at[:, None, :] - points[None, :, :]) / np.where(span > 0, span, 1.0)) ** 2).sum(axis=2)
    nearest = np.argsort(apart, axis=1)[:, : points.shape[1] + 1]
    weights = 1.0 / (np.sqrt(np.take_along_axis(apart, nearest, axis=1)) + 1e-9)
    mean: Vector = (weights * np.maximum(widths, 0.0)[nearest]).sum(axis=1) / weights.sum(axis=1)
    return mean
