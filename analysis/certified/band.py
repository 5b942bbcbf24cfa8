"""The certified band: what ended trials prove of the front between and beyond themselves.

    lower(b) = max_w  sum_j w_j (f_j + lambda_j . (g_j - b)) - c sigma_w(b)
    upper(b) = the lower hull of {(sum_j w_j g_j + R_+^m, sum_j w_j f_j + c sigma_w)}
    sigma_w(b)^2 = Var sum_j w_j (f_j + lambda_j . g_j) + sum_j w_j^2 sum_k ((g_jk - b_k) sigma_lambda,jk)^2

over single trials and means w of neighbours (`windows.py`; above also over edges of a triangulation), with the c at which all
of this holds together as often as is asked for (`critical.py`). With c = 0 and exact trainings both sides hold for certain if
the problem is convex in what it is minimised over (strong duality, [CDM] Lemma 2). To first order a point's error is that of
its own height f + lambda . g: an error of g moves it along the front.

Planes that other trials contradict beyond errors are lowered to what those allow, or left out where their trial did not reach
the front (`contradictions.py`). The upper side needs no optimality, only that trials have what they report.

Sources: supporting planes and hull are the sandwich of Bokrantz and Forsgren (TRITA-MAT-2011-OS3); that dual training
supplies the planes is the envelope theorem (docs/method.md, section 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dualsweep.analysis.certified.contradictions import Consistency, consistency
from dualsweep.analysis.certified.critical import Planes, critical, point_margins
from dualsweep.analysis.certified.hull import lower_hull
from dualsweep.analysis.certified.observations import Observations, Vector
from dualsweep.analysis.certified.windows import edges, windows


@dataclass(frozen=True)
class Band:
    """The front's sides at N budgets: `lower` [N] <= P* <= `upper` [N]; -inf and inf where nothing is known.

    `floor` [N] is the width that another trial would leave: that at the nearest trials, where errors alone keep the band open.
    """

    lower: Vector
    upper: Vector
    floor: Vector
    #: The number of standard errors that makes all of it hold together.
    critical: float = 0.0
    #: What the trials say of each other; None without trials.
    agreed: Consistency | None = None

    @property
    def gap(self) -> Vector:
        return self.upper - self.lower

    @property
    def reducible(self) -> Vector:
        """The part [N] of the gap that another trial could remove; -inf where the band is open, so nothing is known of it."""
        return np.where(np.isfinite(self.gap), self.gap - self.floor, -np.inf)


def band(trials: Observations, at: Vector, z: float, ideal: float = -np.inf) -> Band:
    """The band at budgets `at` [N, m], all of it together as sure as |normal| <= `z`; no objective is below `ideal`."""
    if not len(trials):
        return Band(np.full(len(at), ideal), np.full(len(at), np.inf), np.zeros(len(at)))
    everywhere, count = np.concatenate([at, trials.attained]), len(at)
    agreed, reached = consistency(trials, z), np.isfinite(trials.points)
    averaged = trials.averaged
    weights = np.concatenate([windows(trials.attained, reached, averaged), edges(trials.attained, reached & averaged)])
    below = windows(trials.landed, agreed.usable, averaged)
    choices = Planes.choices(trials, below, agreed.allowed, everywhere)
    margins, points = point_margins(trials, weights), weights @ np.where(reached, trials.points, 0.0)
    c, lower = _narrowest(choices, critical(trials, choices, weights, z), margins)
    lower = np.maximum(lower, ideal)
    upper = lower_hull(everywhere, weights @ trials.attained, points + c * margins, trials.signed)
    floor = _around(trials.attained[reached], (upper - lower)[count:][reached], at) if reached.any() else np.zeros(count)
    return Band(lower[:count], upper[:count], floor, c, agreed)


def _narrowest(choices: Sequence[Planes], factors: Sequence[float], points: Vector) -> tuple[float, Vector]:
    """The planes whose margins, with those of the points [Q], take off least in the mean: their factor and the lower side [N]."""
    candidates, least = [], choices[0].heights.max(axis=1, initial=-np.inf)  # the heights are the same in all
    for planes, c in zip(choices, factors, strict=True):
        off_heights = c * planes.margins
        lower = np.subtract(planes.heights, off_heights, out=off_heights).max(axis=1, initial=-np.inf)
        off = (least - lower)[np.isfinite(lower)]
        candidates.append((float(off.mean() if len(off) else 0.0) + c * float(points.mean() if len(points) else 0.0), c, lower))
    _, c, lower = min(candidates, key=lambda each: each[0])
    return c, lower


def _around(points: Vector, widths: Vector, at: Vector) -> Vector:
    """The mean of the `widths` [n] at the m + 1 nearest `points` [n, m] by inverse distance, for budgets `at` [N, m].

    Between two points in one dimension that is linear interpolation.
    """
    span = np.ptp(np.concatenate([at, points]), axis=0)
    apart = (((at[:, None, :] - points[None, :, :]) / np.where(span > 0, span, 1.0)) ** 2).sum(axis=2)
    few = min(points.shape[1] + 1, len(points))
    nearest = np.argpartition(apart, few - 1, axis=1)[:, :few]
    weights = 1.0 / (np.sqrt(np.take_along_axis(apart, nearest, axis=1)) + 1e-9)
    mean: Vector = (weights * np.maximum(widths, 0.0)[nearest]).sum(axis=1) / weights.sum(axis=1)
    return mean
