"""Means of neighbouring trials, which are planes and points as single trials are, with smaller errors.

A mean of planes below a convex front is a plane below it, and a mean of points above it is a point above it. A mean over k
neighbours with independent errors has 1 / sqrt(k) of one's error, and lies off the front by the square of their distance only.
Where it is not known how errors vary together, as of trials on common draws that were not kept, they may be the same in all: then
there are no means, and to take errors for independent makes the largest of them larger, never smaller (Royen, Far East J. Theor.
Stat. 48, 2014).
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import Delaunay, QhullError

from dualsweep.analysis.certified.observations import Vector

#: Up to so many trials the means over edges are few enough for the hull.
_EDGES_UP_TO = 40


def windows(points: Vector, usable: NDArray[np.bool_], averaged: NDArray[np.bool_]) -> Vector:
    """Weights [P, n], rows that sum to 1: each of the `usable` [n] trials, and means over 2, 4, 8, … near `averaged` [n].

    Nearness is that of `points` [n, m] in units of their range. Windows hold at most 1 / 4^m of the trials, beyond which they
    bend too much to help. The larger they are, the fewer: each is a quarter of its size from the next, or so.
    """
    size, rows = len(points), np.flatnonzero(usable & averaged)
    own = np.eye(size)[usable]
    if len(rows) < 2:
        return own
    chosen = points[rows]
    span = np.ptp(chosen, axis=0)
    scaled = chosen / np.where(span > 0, span, 1.0)
    order = np.argsort(((scaled[:, None] - scaled[None]) ** 2).sum(axis=2), axis=1, kind="stable")
    along = np.lexsort(scaled.T)
    weights, width = [own], 2
    while width * 4 ** points.shape[1] <= len(rows):
        centres = along[:: max(1, width // 4)]
        members = np.unique(np.sort(order[centres, :width], axis=1), axis=0)
        means = np.zeros((len(members), size))
        np.put_along_axis(means, rows[members], 1.0 / width, axis=1)
        weights.append(means)
        width *= 2
    return np.concatenate(weights)


def edges(points: Vector, usable: NDArray[np.bool_]) -> Vector:
    """Weights [Q, n]: means of two, over the edges of a Delaunay triangulation of the `usable` [n] among the `points` [n, m].

    With several budgets and few trials, `windows` has none. The hull is flat over its facets, which are about these simplices, so
    such means lie on it and cost no bending, while errors of independent trials average out. None with one budget, which has
    windows sooner, with more than 3, where edges are many, or of points in one plane.
    """
    rows, (size, budgets) = np.flatnonzero(usable), points.shape
    nothing = np.zeros((0, size))
    if not 1 < budgets <= 3 or not budgets < len(rows) <= _EDGES_UP_TO:
        return nothing
    span = np.ptp(points[rows], axis=0)
    try:
        corners = np.sort(rows[Delaunay(points[rows] / np.where(span > 0, span, 1.0)).simplices], axis=1)
    except QhullError:
        return nothing
    pairs = np.unique(np.concatenate([corners[:, pair] for pair in itertools.combinations(range(budgets + 1), 2)]), axis=0)
    means = np.zeros((len(pairs), size))
    np.put_along_axis(means, pairs, 0.5, axis=1)
    return means
