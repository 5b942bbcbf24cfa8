"""The constrained problem: minimise f subject to g_i <= b_i, and its Lagrangian.

Sign convention, stated once for the whole project (method.md §1): the slack of a constraint is s_i = b_i - g_i, positive
where the constraint holds; multipliers are >= 0; the Lagrangian is f - sum_i lambda_i s_i, minimised over the model and
maximised over the multipliers.

A constraint *relative to the objective* bounds g_i - f instead of g_i. Its value, slack and price are those of that
difference, so everything downstream treats both kinds alike; they differ only here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.recipe import Recipe

Vector = NDArray[np.float64]

#: The largest sum of multipliers over relative constraints. Their Lagrangian holds (1 - sum lambda) f: past 1 it would
#: reward a *worse* objective and the dual function is minus infinity, so the sum is kept inside the dual's domain.
RELATIVE_LIMIT = 0.95


@dataclass(frozen=True)
class Estimate:
    """Means over samples: `mean[0]` is of the objective, `mean[1 + i]` of constraint i's own expectation.

    `variance` is that of each *mean* (its squared standard error); NaN where fewer than two samples were seen.
    """

    mean: Vector
    variance: Vector


@dataclass(frozen=True)
class Problem:
    """The numbers of a problem with m constraints: names, budgets [m], and which are relative to the objective [m]."""

    names: tuple[str, ...]
    budgets: Vector
    relative: NDArray[np.bool_]

    @classmethod
    def of(cls, recipe: Recipe) -> Problem:
        constraints = recipe.constraints
        return cls(
            names=tuple(constraint.name for constraint in constraints),
            budgets=np.array([constraint.at_most for constraint in constraints], dtype=np.float64),
            relative=np.array([constraint.relative_to is not None for constraint in constraints], dtype=np.bool_),
        )

    def values(self, means: Vector) -> Vector:
        """Constraint values g [m] (g - f where relative) from the means [1 + m] of an `Estimate`."""
        result: Vector = means[1:] - np.where(self.relative, means[0], 0.0)
        return result

    def slacks(self, means: Vector) -> Vector:
        """s = b - g, shape [m]; positive where the constraint holds."""
        result: Vector = self.budgets - self.values(means)
        return result

    def slack_errors(self, variances: Vector) -> Vector:
        """Standard errors of the slacks [m]; objective and constraint means come from separate draws, so variances add."""
        result: Vector = np.sqrt(variances[1:] + np.where(self.relative, variances[0], 0.0))
        return result

    def coefficients(self, multipliers: Vector) -> Vector:
        """What the Lagrangian puts on each expectation, shape [1 + m]: the objective's, then each constraint's.

        L = f + sum_i lambda_i (g_i - b_i) gives (1, lambda); a relative constraint moves lambda_i from f to g_i. All are
        >= 0 inside the dual's domain, so L's minimiser is that of the expected loss over the *mixture* of the
        distributions with these weights ([CDM] §3): one batch from the mixture gives L's gradient.
        """
        objective = 1.0 - float(multipliers[self.relative].sum())
        return np.concatenate([[objective], multipliers])

    def weights(self, multipliers: Vector) -> Vector:
        """The coefficients [1 + m] over their absolute sum: gradients keep their size while the multipliers grow."""
        coefficients = self.coefficients(multipliers)
        result: Vector = coefficients / np.abs(coefficients).sum()
        return result

    def lagrangian(self, means: Vector, multipliers: Vector) -> float:
        return float(means[0] - multipliers @ self.slacks(means))

    def project(self, multipliers: Vector, cap: float) -> Vector:
        """The nearest multipliers in [0, cap]^m whose sum over relative constraints is at most `RELATIVE_LIMIT`."""
        projected = np.clip(multipliers, 0.0, cap)
        relative = projected[self.relative]
        if relative.sum() > RELATIVE_LIMIT:
            projected[self.relative] = _onto_simplex(multipliers[self.relative].clip(0.0, cap), RELATIVE_LIMIT)
        return projected

    def at_limit(self, multipliers: Vector, cap: float) -> NDArray[np.bool_]:
        """Which multipliers cannot grow, shape [m]: at the cap, or relative with their sum at its limit."""
        full = bool(multipliers[self.relative].sum() >= RELATIVE_LIMIT * (1 - 1e-9))
        result: NDArray[np.bool_] = (multipliers >= cap) | (self.relative & full & (multipliers > 0))
        return result


def _onto_simplex(point: Vector, total: float) -> Vector:
    """Euclidean projection onto {x >= 0, sum x = total} (Held, Wolfe, Crowder 1974)."""
    ordered = np.sort(point)[::-1]
    thresholds = (np.cumsum(ordered) - total) / np.arange(1, len(point) + 1)
    threshold = thresholds[np.nonzero(ordered > thresholds)[0][-1]]
    result: Vector = np.maximum(point - threshold, 0.0)
    return result
