"""The lower convex hull of attained points, with everything looser than them: {(g_j + R_+^m, f_j + R_+)}.

Its height at b is the least sum_j alpha_j f_j over weights with sum_j alpha_j g_j <= b (= b where a budget is met with
equality). A front that is convex lies below it; and where the objective and the constraints are convex in the model's
distribution, drawing from model j with probability alpha_j attains it without another training.

Source: the outer side of the sandwich of convex multi-criteria optimisation (Bokrantz and Forsgren,
TRITA-MAT-2011-OS3). Facets by qhull (Barber et al. 1996, ACM TOMS 22(4)); linear programs beyond `QHULL_UP_TO` budgets, where
facets grow too many.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.spatial import ConvexHull, QhullError

Vector = NDArray[np.float64]
QHULL_UP_TO = 4
_TINY = 1e-9
_BLOCK = 256
_WALL = 2.0  # beyond everything, which lies in the unit box, so that the body is never flat


def lower_hull(at: Vector, points: Vector, heights: Vector, signed: NDArray[np.bool_]) -> Vector:
    """Heights [N] of the hull of `points` [n, m] with `heights` [n] at budgets `at` [N, m]; inf outside of it.

    Along budgets that are not `signed` [m], whatever is looser than a point belongs to the hull.
    """
    if not len(points):
        return np.full(len(at), np.inf)
    everything = np.concatenate([at, points])
    low, span = everything.min(axis=0), np.ptp(everything, axis=0)
    unit = np.where(span > 0, span, 1.0)
    height = max(float(np.ptp(heights)), 1e-12 * max(1.0, float(np.abs(heights).max())))
    scaled = (points - low) / unit, (heights - heights.min()) / height, (at - low) / unit
    if points.shape[1] > QHULL_UP_TO:
        scaled_heights = _by_programs(*scaled, signed)
    else:
        try:
            scaled_heights = _by_facets(*scaled, signed)
        except QhullError:  # points in one plane, as equalities may have them
            scaled_heights = _by_programs(*scaled, signed)
    result: Vector = scaled_heights * height + heights.min()
    return result


def _by_facets(points: Vector, heights: Vector, at: Vector, signed: NDArray[np.bool_]) -> Vector:
    """Within a box, here up to `_WALL`, the loose side of a point is spanned by its projections onto the box's loose faces."""
    free = np.flatnonzero(~signed)
    body = [points]
    for size in range(1, len(free) + 1):
        for faces in itertools.combinations(free, size):
            moved = points.copy()
            moved[:, list(faces)] = _WALL
            body.append(moved)
    below = np.column_stack([np.concatenate(body), np.tile(heights, len(body))])
    lid = below.copy()
    lid[:, -1] = 2.0
    equations = ConvexHull(np.unique(np.concatenate([below, lid]).round(12), axis=0)).equations
    normals, offsets = equations[:, :-1], equations[:, -1]
    sides, lower = np.abs(normals[:, -1]) <= _TINY, normals[:, -1] < -_TINY
    planes = -np.column_stack([normals[lower, :-1], offsets[lower]]) / normals[lower, -1:]
    budgets, hull_heights = np.column_stack([at, np.ones(len(at))]), np.empty(len(at))
    for start in range(0, len(at), _BLOCK):  # as many budgets as stay in the processor's cache with all facets
        hull_heights[start : start + _BLOCK] = (budgets[start : start + _BLOCK] @ planes.T).max(axis=1)
    outside = (at @ normals[sides, :-1].T + offsets[sides] > 1e-7).any(axis=1)
    return np.where(outside | (hull_heights > 2.0), np.inf, hull_heights)


def _by_programs(points: Vector, heights: Vector, at: Vector, signed: NDArray[np.bool_]) -> Vector:
    """One linear program over the mixture's weights for each budget."""
    hull_heights = np.full(len(at), np.inf)
    equal = np.vstack([np.ones(len(points)), points[:, signed].T])
    for position, budget in enumerate(at):
        program = linprog(
            heights, points[:, ~signed].T, budget[~signed] + _TINY, equal, np.concatenate([[1.0], budget[signed]]), (0, None)
        )
        if program.status == 0:
            hull_heights[position] = program.fun
    return hull_heights
