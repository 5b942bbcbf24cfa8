"""The constrained problem: minimise f subject to bounds on m expectations, and its Lagrangian.

Sign convention, stated once for the whole project (docs/method.md, section 1): a slack is positive where the constraint
holds, and the Lagrangian is f - sum_i lambda_i s_i, minimised over the model and maximised over the multipliers. Of an
objective that is maximised it is -f - sum_i lambda_i s_i.

| kind     | asks           | slack s_i | multiplier    | coefficient of g_i in the Lagrangian |
|----------|----------------|-----------|---------------|--------------------------------------|
| at_most  | g_i <= b_i     | b_i - g_i | >= 0          | + lambda_i                           |
| at_least | g_i >= b_i     | g_i - b_i | >= 0          | - lambda_i                           |
| equals   | g_i = b_i      | b_i - g_i | of either sign| + lambda_i                           |
| minimax  | g_i <= u, min u| u - g_i   | >= 0, sum is 1| + lambda_i, and 0 on f               |

A constraint *relative to the objective* bounds g_i - f instead of g_i. Its value, slack and price are those of that
difference, so everything downstream treats both alike; they differ only here. Values and budgets are always in the user's
units: never negated.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dualsweep.trainer.feasibility.standing import CONFIDENCE
from dualsweep.trainer.feasibility.tolerance import Tolerance
from dualsweep.trainer.recipe.bound import RELATIVE_LIMIT, Kind

Vector = NDArray[np.float64]
Booleans = NDArray[np.bool_]


@dataclass(frozen=True)
class Estimate:
    """Means over samples: `mean[0]` is of the objective, `mean[1 + i]` of constraint i's own expectation.

    `variance` is that of each *mean* (its squared standard error); NaN where fewer than two samples were seen.
    `covariance` [1 + m, 1 + m] is of the *samples* of expectations that were measured jointly, NaN where a pair was not; None
    where none was. `of_means` [1 + m, 1 + m] is the covariance of the means, where it is known by itself.
    """

    mean: Vector
    variance: Vector
    covariance: Vector | None = None
    of_means: Vector | None = None

    @property
    def mean_covariance(self) -> Vector:
        """The covariance [1 + m, 1 + m] of the means; 0 of a pair that was not measured jointly."""
        if self.of_means is not None:
            return self.of_means
        result: Vector = np.diag(self.variance)
        if self.covariance is not None:
            with np.errstate(all="ignore"):
                share = np.sqrt(self.variance / np.diag(self.covariance))
                joint = self.covariance * np.outer(share, share)
            result = np.where(np.isfinite(joint), joint, result)
        return result


@dataclass(frozen=True)
class ConstrainedProblem:
    """The numbers of a problem with m constraints.

    names, kinds    of each constraint; no kinds stand for `at_most` throughout
    budgets         [m] in the user's units; NaN on the simplex
    relative        [m] which are relative to the objective
    softness        [m] 1 / alpha of resilient constraints ([RCL]), 0 of hard ones; none given: all hard
    simplex         min u subject to g_i <= u: no objective is sampled, and `means[0]` is ignored
    maximize        whether f is maximised; nothing is relative to it then
    tilts           [m] whose values depend on the sample alone, so that the best response is tilted by them; none given: all
    tolerances      [m] by how much each may miss its budget and count as met; none given: not at all
    confidence      with which it is called met or violated
    """

    names: tuple[str, ...]
    budgets: Vector
    relative: Booleans
    kinds: tuple[Kind, ...] = ()
    softness: Vector = field(default_factory=lambda: np.zeros(0))
    simplex: bool = False
    maximize: bool = False
    tilts: Booleans = field(default_factory=lambda: np.zeros(0, dtype=np.bool_))
    tolerances: tuple[Tolerance, ...] = ()
    confidence: float = CONFIDENCE

    def __post_init__(self) -> None:
        size = len(self.names)
        object.__setattr__(self, "kinds", self.kinds or ("minimax" if self.simplex else "at_most",) * size)
        if not len(self.softness):
            object.__setattr__(self, "softness", np.zeros(size))
        if not len(self.tilts):
            object.__setattr__(self, "tilts", np.ones(size, dtype=np.bool_))
        object.__setattr__(self, "tolerances", self.tolerances or (Tolerance(0.0),) * size)
        if len(self.kinds) != size or len(self.softness) != size:
            raise ValueError(
                f"a problem must have one kind and one softness for each of its {size} constraints, but got "
                f"{len(self.kinds)} and {len(self.softness)}; give them for all or for none"
            )

    @property
    def direction(self) -> float:
        """-1 where the objective is maximised, 1 otherwise: what the Lagrangian puts on f."""
        return -1.0 if self.maximize else 1.0

    @property
    def signs(self) -> Vector:
        """-1 for `at_least`, 1 otherwise, shape [m]: the coefficient of g_i in the Lagrangian is sign_i lambda_i."""
        return np.array([-1.0 if kind == "at_least" else 1.0 for kind in self.kinds])

    @property
    def signed(self) -> Booleans:
        """Which multipliers may be negative, shape [m]: those of equalities."""
        return np.array([kind == "equals" for kind in self.kinds], dtype=np.bool_)

    def values(self, means: Vector) -> Vector:
        """Constraint values g [m] (g - f where relative) from the means [1 + m] of an `Estimate`."""
        result: Vector = means[1:] - np.where(self.relative, means[0], 0.0)
        return result

    def bounds(self, means: Vector) -> Vector:
        """What each value is held against, shape [m]: the budgets, or on the simplex u, the largest value."""
        return np.full(len(self.names), np.max(means[1:])) if self.simplex else self.budgets

    def slacks(self, means: Vector) -> Vector:
        """s [m], positive where the constraint holds: b - g, for `at_least` g - b; of an equality either sign is a violation."""
        result: Vector = self.signs * (self.bounds(means) - self.values(means))
        return result

    def slack_errors(self, estimate: Estimate) -> Vector:
        """Standard errors of the slacks [m]; variances add where objective and constraint have draws of their own.

        On the simplex u is the largest mean, and each slack that mean's difference from its own: 0 for the largest itself.
        """
        if not self.simplex:
            return self.value_errors(estimate)
        covariance = self.value_covariance(estimate)
        largest, own = int(np.argmax(estimate.mean[1:])), np.diag(covariance)
        result: Vector = np.sqrt(np.maximum(own + own[largest] - 2.0 * covariance[largest], 0.0))
        return result

    def value_errors(self, estimate: Estimate) -> Vector:
        """Standard errors of the values [m], NaN where one is not known."""
        result: Vector = np.sqrt(np.maximum(np.diag(self.value_covariance(estimate)), 0.0))
        return result

    def value_covariance(self, estimate: Estimate) -> Vector:
        """The covariance [m, m] of the values."""
        between, relative = estimate.mean_covariance, self.relative.astype(np.float64)
        objective = np.nan_to_num(between[0, 1:])
        shared = np.where(np.outer(self.relative, self.relative), between[0, 0], 0.0)
        result: Vector = between[1:, 1:] - np.outer(relative, objective) - np.outer(objective, relative) + shared
        return result

    def tolerated(self, means: Vector) -> Vector:
        """By how much each value may miss its budget and count as met, shape [m]."""
        return np.array([each.at(self.objective(means)) for each in self.tolerances], dtype=np.float64)

    def violations(self, slacks: Vector) -> Vector:
        """max(0, -s), for an equality |s|, shape [m]; 0 where the constraint holds."""
        result: Vector = np.where(self.signed, np.abs(slacks), np.maximum(-slacks, 0.0))
        return result

    def relaxations(self, multipliers: Vector) -> Vector:
        """u = lambda / alpha [m]: by how much resilient budgets have relaxed themselves ([RCL]); 0 for hard ones."""
        result: Vector = multipliers * self.softness
        return result

    def objective(self, means: Vector) -> float:
        """f in the user's units, or on the simplex u, the largest value."""
        return float(np.max(means[1:]) if self.simplex else means[0])

    def objective_variance(self, estimate: Estimate) -> float:
        """The squared standard error of `objective`; of the largest value that of the mean which is it."""
        index = 1 + int(np.argmax(estimate.mean[1:])) if self.simplex else 0
        return float(estimate.variance[index])

    def complete(self, means: Vector) -> bool:
        """Whether every mean that the problem uses is finite."""
        return bool(np.isfinite(means[1:] if self.simplex else means).all())

    def coefficients(self, multipliers: Vector) -> Vector:
        """What the Lagrangian puts on each expectation, [..., 1 + m] for multipliers [..., m]: objective first, then signed.

        L = f + sum_i lambda_i (g_i - b_i) gives (1, lambda); `at_least` gives -lambda_i, and a relative constraint moves
        lambda_i from f to g_i. Where all are >= 0, L's minimiser is that of the expected loss over the *mixture* of the
        distributions with these weights ([CDM] §3): one batch from the mixture gives L's gradient. On the simplex
        L = sum_i lambda_i g_i.
        """
        objective = 0.0 if self.simplex else self.direction - multipliers[..., self.relative].sum(-1)
        first = np.broadcast_to(objective, multipliers.shape[:-1])[..., None]
        return np.concatenate([first, self.signs * multipliers], axis=-1)

    def mixture_weights(self, multipliers: Vector) -> Vector:
        """The coefficients [..., 1 + m] over their absolute sum: gradients keep their size while the multipliers grow."""
        coefficients = self.coefficients(multipliers)
        result: Vector = coefficients / np.abs(coefficients).sum(-1, keepdims=True)
        return result

    def lagrangian(self, means: Vector, multipliers: Vector) -> float:
        """+-f - lambda . s - sum_i lambda_i^2 / (2 alpha_i), the last for resilient budgets at their best u = lambda / alpha."""
        relaxed = 0.5 * float(multipliers @ self.relaxations(multipliers))
        return self.direction * self.objective(means) - float(multipliers @ self.slacks(means)) - relaxed

    def lowest(self, cap: float) -> Vector:
        """The least value of each multiplier, shape [m]: 0, or for an equality -cap."""
        result: Vector = np.where(self.signed, -cap, 0.0)
        return result

    def project(self, multipliers: Vector, cap: float) -> Vector:
        """The nearest multipliers in their domain.

        That is [0, cap]^m ([-cap, cap] for equalities) with a sum over relative constraints of at most `RELATIVE_LIMIT`; on
        the simplex the weights that sum to 1, where the cap says nothing.
        """
        if self.simplex:
            return onto_capped_simplex(multipliers, np.zeros(len(multipliers)), np.ones(len(multipliers)), 1.0)
        lowest = self.lowest(cap)
        projected = np.clip(multipliers, lowest, cap)
        if projected[self.relative].sum() > RELATIVE_LIMIT:
            bounded, low = self.relative, lowest[self.relative]
            projected[bounded] = onto_capped_simplex(multipliers[bounded], low, np.full(len(low), cap), RELATIVE_LIMIT)
        return projected

    def stuck(self, multipliers: Vector, slacks: Vector, cap: float) -> Booleans:
        """Which multipliers cannot move as their violated constraints ask, shape [m].

        Those at the cap, or relative with their sum at its limit. `slacks` are net of relaxations. Never on the simplex.
        """
        if self.simplex:
            return np.zeros(len(self.names), dtype=np.bool_)
        full = bool(multipliers[self.relative].sum() >= RELATIVE_LIMIT * (1 - 1e-9))
        upwards = (multipliers >= cap) | (self.relative & full & (self.signed | (multipliers > 0)))
        result: Booleans = (upwards & (slacks < 0)) | (self.signed & (multipliers <= -cap) & (slacks > 0))
        return result

    def curvature(self, covariance: Vector) -> Vector:
        """ds/dlambda [m, m] at a best response, from the covariance [1 + m, 1 + m] of what the expectations are of.

        The best response to KL(p || q) + sum_i c_i E_p g_i with coefficients c is p ~ q exp(-sum_i c_i g_i) ([CCA] §3), so
        dE g_i / dc_j = -Cov(g_i, g_j); with signs and objective shares, A = signs ([-relative | I]): H = A Cov A^T. NaN
        where an entry was not measured, or is of a constraint that does not tilt: a second KL, whose values are not its
        log-ratios.
        """
        columns = np.eye(len(self.names), 1 + len(self.names), 1)
        columns[:, 0] = -1.0 * self.relative
        used = np.abs(columns).sum(0) > 0
        kept = np.where(np.outer(used, used), covariance, 0.0)
        unknown = np.isnan(kept)
        missing = np.abs(columns) @ unknown.astype(float) @ np.abs(columns).T > 0
        missing |= ~np.logical_and.outer(self.tilts, self.tilts)
        turned = self.signs[:, None] * columns
        result: Vector = np.where(missing, np.nan, turned @ np.where(unknown, 0.0, kept) @ turned.T)
        return result


def onto_capped_simplex(point: Vector, low: Vector, high: Vector, total: float) -> Vector:
    """Euclidean projection [m] onto {low <= x <= high, sum x = total}; the bounds [m] must allow that sum.

    It is clip(point - t, low, high) for the t at which the sum is right. The sum falls with t along a line between the 2 m
    values of t at which a coordinate meets a bound, so t lies between two of them (Kiwiel, *Breakpoint searching algorithms for
    the continuous quadratic knapsack problem*, Mathematical Programming 112, 2008). A point whose clipped sum is above the total
    has the same projection onto {..., sum x <= total}.
    """
    meets = np.sort(np.concatenate([point - high, point - low]))
    sums = np.clip(point - meets[:, None], low, high).sum(axis=1)
    threshold = np.interp(-total, -sums, meets)
    result: Vector = np.clip(point - threshold, low, high)
    return result
