"""Whether a front is bent, which noise alone makes any front look, and where its knee may be.

The sums of the scaled objectives along a straight front are linear in the objectives. A knee is told by a hinge: with h the
distance from a point of the front, cleared of what is linear, h . sums / |h . errors| is standard normal on a straight front and
positive where the front bends towards the best. The largest over all points is held against the quantile of the largest on a
straight front with these errors, by simulation, so a straight front has a knee in at most 5 % of cases.

Where the front of two objectives is convex within errors, the sums are estimated by the convex function nearest to them (least
squares; Hildreth, Point estimates of ordinates of concave functions, JASA 49, 1954), which takes noise away beside a knee as
well as along a smooth front.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import nnls

from dualsweep.analysis.recommendation.points import Points, Vector

#: The test's nominal level. A straight front seems bent more often: 2.7 % of 2,000 with 12 points, 3.7 % of 300 with 40.
CHANCE = 0.025
#: The true knee is not among those named in so many cases of a front that is as it is estimated; of others in a few more.
_MISSED = 0.01
_DRAWS, _REFITS = 4000, 300
#: Corners that a convex fit may have; with as many it takes a tenth of a millisecond.
_CORNERS = 16
#: Errors are at least this part of the ranges: nothing rests on less.
_LEAST = 0.002


def sum_errors(points: Points) -> Vector:
    """Standard errors [n] of the sums of the scaled objectives."""
    found: Vector = np.sqrt((points.scaled_errors**2).sum(axis=1) + _LEAST**2)
    return found


def along(points: Points) -> Vector:
    """Where the points lie along the front [n, m]: what varies of the scaled objectives, less what it errs with their sum.

    What is left has errors that are independent of the sums', or else points that noise moved up would seem moved along.
    """
    scaled, variances = points.scaled[:, points.varying], (points.scaled_errors[:, points.varying] ** 2).mean(axis=0)
    shares = variances / variances.sum() if variances.sum() > 0 else np.full(len(variances), 1.0 / len(variances))
    result: Vector = scaled - scaled.sum(axis=1, keepdims=True) * shares
    return result


def bent(points: Points) -> bool:
    """Whether the front bends by more than noise."""
    errors, at = sum_errors(points), along(points)
    vectors, sizes, _ = np.linalg.svd(np.column_stack([np.ones(len(at)), at]) / errors[:, None], full_matrices=False)
    linear = vectors[:, sizes > 1e-9 * sizes[0]]
    hinges = np.sqrt(((at[:, None] - at[None]) ** 2).sum(axis=2)) / errors[None]
    whole = np.sqrt((hinges**2).sum(axis=1))
    hinges = hinges - (hinges @ linear) @ linear.T
    left = np.sqrt((hinges**2).sum(axis=1))
    hinges = hinges[left > 1e-3 * whole] / left[left > 1e-3 * whole, None]
    if not len(hinges):
        return False
    largest = (hinges @ np.random.default_rng(0).standard_normal((len(at), _DRAWS))).max(axis=0)
    told = float((hinges @ (points.scaled.sum(axis=1) / errors)).max())
    return told > float(np.quantile(largest, 1.0 - CHANCE))


def lowest(points: Points) -> tuple[int, tuple[int, ...]]:
    """The row with the least sum, noise taken away as far as it goes, and the rows that it is not told apart from."""
    sums, noise = points.scaled.sum(axis=1), np.random.default_rng(1)
    if not points.errors.any():
        return int(np.argmin(sums)), ()
    errors = sum_errors(points)
    convex = _Convex(along(points)[:, 0], errors) if points.varying.sum() == 2 else None
    fitted = convex.fit(sums) if convex else sums
    if convex and (((sums - fitted) / errors) ** 2).sum() > len(sums) + 3.0 * np.sqrt(2.0 * len(sums)):
        convex, fitted = None, sums
    row, above = int(np.argmin(fitted)), []
    for draw in noise.standard_normal((_REFITS, len(sums))) * errors:
        again = convex.fit(fitted + draw) if convex else fitted + draw
        above.append(again[row] - again.min())
    within = np.flatnonzero(fitted - fitted[row] <= float(np.quantile(above, 1.0 - _MISSED)))
    return row, tuple(int(each) for each in within if each != row)


class _Convex:
    """Least squares over convex functions of one coordinate [n], linear between a few corners."""

    def __init__(self, at: Vector, errors: Vector) -> None:
        inner = np.unique(at)[1:-1]
        corners = inner[np.unique(np.linspace(0, len(inner) - 1, min(_CORNERS, len(inner))).astype(int))] if len(inner) else inner
        self._basis = np.column_stack([np.ones(len(at)), -np.ones(len(at)), at, -at, np.maximum(at[:, None] - corners, 0.0)])
        self._errors = errors

    def fit(self, sums: Vector) -> Vector:
        weights, _ = nnls(self._basis / self._errors[:, None], sums / self._errors)
        result: Vector = self._basis @ weights
        return result
