"""The slope of the front at a trial as the trials' values show it, without any multiplier.

In a convex problem the prices lambda at trial j are those of a plane through (g_j, f_j) that no attained point lies below:

    f_i >= f_j - lambda . (g_i - g_j)   for every trial i,   lambda_k >= 0 but of equalities

Which prices do so is a polyhedron, and the range of one price over it a linear program; it is open where no trial lies on that
side. With standard errors every inequality is granted z of them: of f_i - f_j, and of lambda_k (g_ik - g_jk), whose error grows
with lambda_k. They are added up, which is at least their root of squares, so that the range errs on the wide side.

With several prices the range of one leaves the others free. It is the subdifferential of the lower convex hull, Rockafellar,
Convex Analysis (1970), section 23; for one constraint, the slopes of the chords to the nearest points of the hull.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import moocore
import numpy as np
from scipy.optimize import linprog
from scipy.special import ndtri

from dualsweep.analysis.prices.attained import Attained, Vector

#: The chance that exact prices of one trial are contradicted by noise alone, over all trials that they are compared with.
CHANCE = 0.01
#: What rounding may hide, as a part of the ranges.
_TINY = 1e-7
_INFEASIBLE = 2
#: A local fit takes this many neighbours a constraint, and two more.
_NEIGHBOURS = 3
_WORST_CONDITION = 1e3
_ROUNDS = 8


@dataclass(frozen=True)
class Polyhedron:
    """The prices that the values allow at a trial: { lambda : steps lambda <= heights }, in units of the ranges."""

    steps: Vector
    heights: Vector
    signed: Vector
    unit: Vector

    @classmethod
    def at(cls, attained: Attained, j: int) -> Polyhedron:
        """The inequalities of every other trial, without those that others imply."""
        others = np.arange(len(attained.trials)) != j
        z = margin(attained)
        rise = (attained.objective - attained.objective[j])[others]
        errors = np.hypot(attained.objective_error, attained.objective_error[j])[others]
        away = (attained.values - attained.values[j])[others]
        value_errors = np.hypot(attained.value_errors, attained.value_errors[j])[others]
        free = z * value_errors * np.where(attained.signed, np.abs(attained.multipliers[j]), 0.0)
        heights = rise + z * errors + free.sum(axis=1)
        steps = away + np.where(attained.signed, 0.0, z * value_errors)
        span = _span(attained.objective)
        spans = np.array([_span(column) for column in attained.values.T])
        made = cls(-steps / spans, heights / span + _TINY, attained.signed.astype(np.float64), span / spans)
        return made if attained.signed.any() else made._pruned()

    def _pruned(self) -> Polyhedron:
        """Where lambda >= 0, a point that is worse in everything implies nothing new."""
        if not len(self.heights):
            return self
        kept = moocore.is_nondominated(np.column_stack([self.heights, -self.steps]))
        return replace(self, steps=self.steps[kept], heights=self.heights[kept])

    def range_of(self, which: Vector) -> tuple[float, float] | None:
        """The least and the largest sum of the prices `which` [K]; infinite where open, None where no prices are allowed."""
        ends = []
        weights = which * self.unit
        # The solver takes costs below 1e-7 for none, and with them what is open for closed.
        scale = float(np.abs(weights).max(initial=0.0)) or 1.0
        weights = weights / scale
        for sign in (1.0, -1.0):
            program = linprog(sign * weights, self.steps, self.heights, bounds=self._bounds)
            if program.status == _INFEASIBLE:
                return None
            ends.append(sign * scale * float(program.fun or 0.0) if program.status == 0 else -sign * np.inf)
        return float(ends[0]), float(ends[1])

    @property
    def lacking(self) -> float:
        """By how much at least, as a part of the objective's range, another trial is better at any prices; 0 where none is."""
        count = self.steps.shape[1]
        program = linprog(
            np.eye(count + 1)[-1],
            np.column_stack([self.steps, -np.ones(len(self.heights))]),
            self.heights,
            bounds=[*self._bounds, (0, None)],
        )
        return float(program.fun or 0.0)

    @property
    def _bounds(self) -> list[tuple[float | None, None]]:
        return [(None if signed else 0.0, None) for signed in self.signed]


def margin(attained: Attained) -> float:
    """z: with so many comparisons, noise alone passes one of them with the chance `CHANCE` at most (Bonferroni)."""
    return -float(ndtri(CHANCE / max(1, len(attained.trials) - 1)))


def local_slope(attained: Attained, j: int, which: Vector) -> tuple[float, float]:
    """The sum of the prices `which` [K] by least squares over the nearest trials, and its standard error; NaN where too few tell.

    f_i - f_j = -lambda . (g_i - g_j) + c d^2, with one curvature c over the distance d (in parts of the ranges). What that
    leaves, of the size r d^2, is told by the residuals; trials count by 1 / (their variance + (r d^2)^2).
    """
    count = len(attained.names)
    spans = np.array([_span(column) for column in attained.values.T])
    away = (attained.values - attained.values[j]) / spans
    distance = np.sqrt((away**2).sum(axis=1))
    order = [i for i in np.argsort(distance, kind="stable") if i != j and distance[i] > 0][: _NEIGHBOURS * count + 2]
    apart = distance[order]
    design = np.column_stack([-away[order], apart**2])
    if len(order) < count + 2 or np.linalg.cond(design / apart[:, None]) > _WORST_CONDITION:
        return np.nan, np.nan
    height = _span(attained.objective)
    rise = (attained.objective[order] - attained.objective[j]) / height
    noise = (attained.objective_error[order] / height) ** 2 + (attained.objective_error[j] / height) ** 2
    rough = np.abs(np.linalg.lstsq(design, rise, rcond=None)[0])[:count]
    noise = noise + ((rough / spans) ** 2 * (attained.value_errors[order] ** 2 + attained.value_errors[j] ** 2)).sum(axis=1)
    free = len(order) - count - 1
    bend, fitted, inverse, left = 1.0, np.zeros(count + 1), np.eye(count + 1), rise
    for _ in range(_ROUNDS):
        weights = 1.0 / (noise + (bend * apart**2) ** 2 + _TINY**2)
        normal = design.T @ (design * weights[:, None])
        if np.linalg.cond(normal) > 1.0 / np.finfo(np.float64).eps:  # beside one trial the others weigh nothing
            return np.nan, np.nan
        inverse = np.linalg.inv(normal)
        fitted = inverse @ design.T @ (weights * rise)
        left = rise - design @ fitted
        bend = float(np.sqrt((np.maximum(0.0, left**2 - noise) / apart**4).mean() * len(order) / max(1, free)))
    surplus = float((weights * left**2).sum()) / max(1, free)
    scale = np.append(which * height / spans, 0.0)
    return float(scale @ fitted), float(np.sqrt(scale @ inverse @ scale * max(1.0, surplus)))


def _span(column: Vector) -> float:
    span = float(np.ptp(column)) if len(column) else 0.0
    return span if span > 0 else 1.0
