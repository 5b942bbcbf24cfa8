"""The knee of a front: the point from which going on in any direction costs more than it buys.

With every objective scaled to 0 (best) to 1 (worst) along the front, it is the point with the least sum: then every other point
loses at least as much in some objectives as it gains in the others, in parts of their ranges. For two objectives it is the
point farthest below the line through the two ends (Das, On characterizing the "knee" of the Pareto curve based on
Normal-Boundary Intersection, Structural Optimization 18, 1999); for any number the minimum Manhattan distance from the ideal
(Chiu, Yen and Juan, Minimum Manhattan distance approach to multiple criteria decision making, IEEE Transactions on
Evolutionary Computation 20(6), 2016).

`bulge` is by how much its sum lies below the mean of the ends' (the points that are best in one objective). A straight front
has none, and then there is no knee: every point is the same bargain. So it is where noise may have bent it (`straight.py`), and
with less than `STRAIGHT`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from dualsweep.analysis.noise import APART
from dualsweep.analysis.recommendation.points import Points
from dualsweep.analysis.recommendation.straight import bent, lowest

#: A bulge below this part of the ranges is no knee, however exact the values.
STRAIGHT = 0.02


@dataclass(frozen=True)
class Knee:
    """The row of the knee, its bulge in parts of the ranges with its standard error; `row` is None where there is no knee.

    `alike` are the rows of the other points that may be the knee: noise does not tell them apart from it.

    `why` is the case: a knee; `one` point, which is taken; or none, since there are `two` points or `no` one, or the front is
    `straight`, or `concave`: it bends the other way, by `-bulge` where it does most.
    """

    row: int | None
    why: Literal["knee", "one", "two", "no", "straight", "concave"]
    bulge: float = 0.0
    error: float = 0.0
    alike: tuple[int, ...] = ()


def find_knee(points: Points) -> Knee:
    """The knee of a front; of points that are equal the first counts."""
    distinct = len(np.unique(points.lower, axis=0))
    if distinct < 3:
        return (Knee(None, "no"), Knee(0, "one"), Knee(None, "two"))[distinct]
    sums = points.scaled.sum(axis=1)
    best, alike = int(np.argmin(sums)), tuple[int, ...]()
    straight = bool(points.errors.any()) and not bent(points)
    if not straight:
        best, alike = lowest(points)
    ends = np.flatnonzero(((points.scaled == 0) & points.varying).any(axis=1))
    variances = (points.scaled_errors**2).sum(axis=1)

    def bulge_at(row: int) -> tuple[float, float]:
        error = np.sqrt(variances[row] + variances[ends].sum() / len(ends) ** 2)
        return float(sums[ends].mean() - sums[row]), float(error)

    dent, dent_error = bulge_at(int(np.argmax(sums)))
    if best in ends and -dent > max(STRAIGHT, APART * dent_error):
        return Knee(None, "concave", dent, dent_error)
    bulge, error = bulge_at(best)
    if bulge <= STRAIGHT or straight:
        return Knee(None, "straight", bulge, error)
    return Knee(best, "knee", bulge, error, alike)
