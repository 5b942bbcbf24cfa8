"""What ended trials say of the front P*(b) = min f subject to g <= b, as arrays.

A trial that was asked for budgets b_j returns its objective f_j, constraint values g_j and multipliers lambda_j. If its model
minimises the Lagrangian f + lambda_j . g, then for all budgets

    P*(b) >= f_j + lambda_j . (g_j - b)          a supporting plane, since d/db P* = -lambda (envelope theorem)
    P*(b) <= f_j   for b >= g_j                   an attained point

Everything here is minimised, and every constraint reads g <= b (`axes.py` turns the user's senses into that). Several
constraints may share one budget (`constraints.*.at_most`): that budget's price is the sum of their multipliers, what they
attain of it is their largest value, and the plane keeps every constraint's own term. So constraints are counted by k = 1..K,
budgets by i = 1..m, and `shared` [K] says which budget bounds which constraint.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import block_diag

Vector = NDArray[np.float64]
#: A multiplier below this part of the largest one of its budget is taken for zero: its constraint is slack.
_NEGLIGIBLE = 1e-6


@dataclass(frozen=True)
class Observations:
    """n trials: `asked` [n, m] budgets, `objective` [n], `values` and `multipliers` [n, K], and their standard errors.

    `shared` [K] is the budget of each constraint; `signed` [m] says which budgets are met with equality, so that their
    multipliers may have either sign and a looser budget is not a weaker one.
    """

    asked: Vector
    objective: Vector
    values: Vector
    multipliers: Vector
    objective_error: Vector
    value_errors: Vector
    multiplier_errors: Vector
    shared: NDArray[np.intp]
    signed: NDArray[np.bool_]
    #: What was attained at the values, [n], inf where nothing was; None where that is the objective. It is not where constraints
    #: have budgets that are not searched: then `objective` is moved along the trial's plane to where these are met exactly.
    reached: Vector | None = None
    #: Covariance of the errors [n (1 + K), n (1 + K)] of (f, g_1 .. g_K), trial by trial, where trials were measured on common
    #: draws; None where nothing is known to vary together. Its diagonal is that of the errors.
    covariance: Vector | None = None
    #: Of which trials [n] it is known how their errors vary with the others': as `covariance` has it, not at all where that is
    #: None. Left out, of all with a `covariance`, else of none.
    related: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.objective)

    @classmethod
    def none(cls, shared: NDArray[np.intp], signed: NDArray[np.bool_]) -> Observations:
        """No trials yet, of m budgets over K constraints."""
        per_budget, per_constraint, single = np.zeros((0, len(signed))), np.zeros((0, len(shared))), np.zeros(0)
        return cls(per_budget, single, per_constraint, per_constraint, single, per_constraint, per_constraint, shared, signed)

    @property
    def budgets(self) -> int:
        """The number m of budgets."""
        return len(self.signed)

    @property
    def prices(self) -> Vector:
        """-dP*/db at each trial, [n, m]: the sum of the multipliers that share a budget."""
        return self._over_budgets(self.multipliers)

    @property
    def attained(self) -> Vector:
        """The tightest budgets [n, m] that each trial's values satisfy: the largest of those that share one."""
        return self._largest(self.values)

    @property
    def attained_errors(self) -> Vector:
        """Standard errors [n, m] of what is attained, at most."""
        return self._largest(self.value_errors)

    @property
    def priced(self) -> NDArray[np.bool_]:
        """Which budgets [n, m] of each trial have a price; the others are slack (an equality never is)."""
        prices = np.abs(self.prices)
        errors = np.sqrt(self.price_variances)
        largest = np.max(prices, axis=0, initial=0.0)
        result: NDArray[np.bool_] = (prices > np.maximum(errors, _NEGLIGIBLE * largest)) | self.signed
        return result

    @property
    def landed(self) -> Vector:
        """Where each trial landed on the front, [n, m]: at its values, since training ends near the budgets asked for.

        Of several values that share a priced budget it is their mean weighted by multipliers, of a slack one the attained.
        """
        weights = self._over_budgets(np.abs(self.multipliers))
        weighted = self._over_budgets(np.abs(self.multipliers) * self.values) / np.where(weights > 0, weights, 1.0)
        return np.where(self.priced & (weights > 0), weighted, self.attained)

    @property
    def points(self) -> Vector:
        """The objectives [n] that were attained at `attained`; inf where none was."""
        return self.objective if self.reached is None else self.reached

    @property
    def averaged(self) -> NDArray[np.bool_]:
        """Which trials [n] means may be taken over: others may err all alike, and their mean as much as each of them."""
        return np.full(len(self), self.covariance is not None) if self.related is None else self.related

    @property
    def variances(self) -> Vector:
        """The variances [n, 1 + K] of (f, g_1 .. g_K)."""
        return np.column_stack([self.objective_error, self.value_errors]) ** 2

    @property
    def errors_covariance(self) -> Vector:
        """The covariance [n, 1 + K, n, 1 + K] of (f, g_1 .. g_K) of every two trials."""
        size, width = len(self), 1 + len(self.shared)
        dense = np.diag(self.variances.ravel()) if self.covariance is None else self.covariance
        return dense.reshape(size, width, size, width)

    @property
    def within_covariance(self) -> Vector:
        """The covariance [n, 1 + K, 1 + K] of (f, g_1 .. g_K) of each trial."""
        if self.covariance is None:  # a thousand trials' `errors_covariance` would be 0.1 GB of zeros
            return np.asarray(self.variances[:, :, None] * np.eye(1 + len(self.shared)))
        return np.asarray(np.einsum("jajb->jab", self.errors_covariance))

    @property
    def loads(self) -> Vector:
        """How (f, g_1 .. g_K) enter a trial's own height f + lambda . g: (1, lambda), [n, 1 + K]."""
        return np.column_stack([np.ones(len(self)), self.multipliers])

    @property
    def own_covariance(self) -> Vector:
        """The covariance [n, n] of the trials' own heights f_j + lambda_j . g_j."""
        if self.covariance is None:
            return np.diag(self.own_variances)
        loads = self.loads
        result: Vector = np.einsum("ja,jaib,ib->ji", loads, self.errors_covariance, loads)
        return result

    @property
    def crossings(self) -> Vector:
        """Lagrangian values f_i + lambda_j . g_i of every trial i [row] at every trial j's multipliers [column], [n, n]."""
        return self.objective[:, None] + self.values @ self.multipliers.T

    @property
    def excess(self) -> Vector:
        """By how much each trial [n] is known to miss the minimum of its own Lagrangian: another trial's is lower.

        0 for exact trainings; what is above noise certifies a training that stopped early or multipliers out of step.
        """
        crossings = self.crossings
        return np.diag(crossings) - np.min(crossings, axis=0) if len(self) else np.zeros(0)

    @property
    def own_variances(self) -> Vector:
        """Variances [n] of P* where each trial landed: of f, and of the value along the plane."""
        result: Vector = self.objective_error**2 + ((self.multipliers * self.value_errors) ** 2).sum(axis=1)
        return result

    @property
    def price_variances(self) -> Vector:
        """Variances [n, m] of the prices."""
        return self._over_budgets(self.multiplier_errors**2)

    def joined(self, other: Observations) -> Observations:
        """All observations of both, these first."""
        names = ("asked", "objective", "values", "multipliers", "objective_error", "value_errors", "multiplier_errors")
        both = {name: np.concatenate([getattr(self, name), getattr(other, name)]) for name in names}
        if self.reached is not None or other.reached is not None:
            both["reached"] = np.concatenate([self.points, other.points])
        if self.covariance is not None or other.covariance is not None:
            width = 1 + len(self.shared)
            parts = [each.errors_covariance.reshape([len(each) * width] * 2) for each in (self, other)]
            both["covariance"] = block_diag(*parts)
        if "covariance" in both or self.related is not None or other.related is not None:
            both["related"] = np.concatenate([self.averaged, other.averaged])
        return replace(self, **both)

    def predicted(self, at: Vector, objective: Vector, prices: Vector) -> Observations:
        """Trials at budgets `at` [N, m] as a surrogate sees them: each budget met exactly, its price shared out evenly."""
        sharing = np.bincount(self.shared, minlength=self.budgets)
        multipliers = (prices / sharing)[:, self.shared]
        nothing = np.zeros_like(multipliers)
        return replace(
            self, asked=at, objective=objective, values=at[:, self.shared], multipliers=multipliers,
            objective_error=np.zeros(len(at)), value_errors=nothing, multiplier_errors=nothing, reached=None, covariance=None,
            related=None,
        )  # fmt: skip

    def _over_budgets(self, each: Vector) -> Vector:
        summed: Vector = each @ (self.shared[:, None] == np.arange(self.budgets))
        return summed

    def _largest(self, each: Vector) -> Vector:
        return np.stack([each[:, self.shared == budget].max(axis=1) for budget in range(self.budgets)], axis=1)
