"""The dual function d(lambda) = min f + lambda . g from points of an amortised front, and the multipliers of given budgets.

With every constraint written g <= b, lambda(b) = argmax over lambda >= 0 of d(lambda) - lambda . b, and the front is the maximum,
P*(b). d is concave with gradient g(lambda) (Danskin), so a point measured at lambda gives value and gradient: gradient-enhanced
kriging in the units of the multipliers' range joins them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize

from dualsweep.trainer.amortised.spread import MultiplierRange
from dualsweep.trainer.dual.problem import Vector
from dualsweep.trainer.kriging.process import Kriging, fit
from dualsweep.trainer.recipe.bound import RELATIVE_LIMIT

#: Errors of the points against each other, parts of their range. They are measured on the same draws, so this is what training
#: left undone.
_VALUE_ERROR, _GRADIENT_ERROR = 1e-3, 3e-3
#: Points from which the ascent of the dual function starts.
_STARTS = 3
#: Parts of the range at which the scale of the process may turn from even to logarithmic; the likeliest is taken.
_KNEES = (0.01, 0.03, 0.1, 0.3, 1.0, 10.0)


@dataclass(frozen=True)
class _Scale:
    """Units u = log(1 + lambda / knee) / log(1 + high / knee) in [0, 1] of multipliers, `knee` and `high` [m]."""

    knee: Vector
    high: Vector

    def units(self, multipliers: Vector) -> Vector:
        result: Vector = np.log1p(multipliers / self.knee) / np.log1p(self.high / self.knee)
        return result

    def multipliers(self, units: Vector) -> Vector:
        result: Vector = self.knee * np.expm1(units * np.log1p(self.high / self.knee))
        return result

    def slopes(self, multipliers: Vector) -> Vector:
        """d lambda / du at `multipliers` [..., m]."""
        result: Vector = (multipliers + self.knee) * np.log1p(self.high / self.knee)
        return result


@dataclass(frozen=True)
class DualFunction:
    """Fitted to points: `multipliers` [n, m], `heights` d [n] and `values` g [n, m], each as g <= b.

    Beside the linear part lambda . `middle`, which no process has to learn.
    """

    spread: MultiplierRange
    scale: _Scale
    process: Kriging
    middle: Vector
    multipliers: Vector
    heights: Vector
    values: Vector

    @classmethod
    def of(cls, spread: MultiplierRange, multipliers: Vector, objective: Vector, values: Vector) -> DualFunction:
        """From objectives [n], minimised, and values [n, m], at most, at `multipliers` [n, m]; as `Problem` has them, signed."""
        middle = values.mean(axis=0)
        heights = objective + (values * multipliers).sum(axis=1)
        bent, away = heights - multipliers @ middle, values - middle
        fits = []
        for part in _KNEES:
            scale = _Scale(part * spread.high, spread.high)
            process, cost = _fit(scale, multipliers, bent, away)
            fits.append((cost, scale, process))
        _, scale, process = min(fits, key=lambda each: each[0])
        return cls(spread, scale, process, middle, multipliers, heights, values)

    def at(self, multipliers: Vector) -> tuple[Vector, Vector]:
        """d [N] and g [N, m] at `multipliers` [N, m]."""
        bent, gradients = self.process.predict(self.scale.units(multipliers))
        return bent + multipliers @ self.middle, self.middle + gradients / self.scale.slopes(multipliers)

    def multipliers_for(self, budgets: Vector, softness: Vector | None = None) -> Vector:
        """lambda(b) [m] within the range for budgets [m]; of budgets that relax themselves, with 1 / alpha as `softness` [m].

        Where a budget is tighter than the range reaches, its multiplier ends at the range's upper end.
        """
        soft, scale = np.zeros(self.spread.size) if softness is None else softness, self.scale

        def minus(units: Vector) -> tuple[float, Vector]:
            here = scale.multipliers(units)
            height, values = self.at(here[None])
            lagrangian = height[0] - here @ budgets - 0.5 * (soft * here) @ here
            return -float(lagrangian), -(values[0] - budgets - soft * here) * scale.slopes(here)

        known = self.heights - self.multipliers @ budgets - 0.5 * (self.multipliers**2) @ soft
        relative = self.spread.problem.relative
        room: Any = [{"type": "ineq", "fun": lambda units: RELATIVE_LIMIT - float(scale.multipliers(units)[relative].sum())}]
        best, multipliers = np.inf, self.multipliers[int(np.argmax(known))]
        for start in scale.units(self.multipliers[np.argsort(-known)[:_STARTS]]):
            ended = minimize(
                minus, start, jac=True, method="SLSQP", bounds=[(0.0, 1.0)] * len(start),
                constraints=room if relative.sum() > 1 else [], options={"ftol": 1e-12, "maxiter": 200},
            )  # fmt: skip
            if ended.fun < best:
                best, multipliers = float(ended.fun), scale.multipliers(np.clip(ended.x, 0.0, 1.0))
        return np.where(multipliers < 1e-2 * self.spread.low, 0.0, multipliers)

    def front(self, budgets: Vector) -> tuple[Vector, Vector]:
        """P* [N] and its multipliers [N, m] at budgets [N, m]."""
        multipliers = np.array([self.multipliers_for(each) for each in budgets]).reshape(len(budgets), -1)
        heights, _ = self.at(multipliers)
        return heights - (multipliers * budgets).sum(axis=1), multipliers


def _fit(scale: _Scale, multipliers: Vector, bent: Vector, away: Vector) -> tuple[Kriging, float]:
    """The process in this scale, and minus its log density in lambda: densities of gradients compare by their Jacobian."""
    slopes = scale.slopes(multipliers)
    gradients = away * slopes
    size = max(float(np.ptp(bent)), float(np.abs(away).max()), 1e-12)
    errors = _GRADIENT_ERROR * float(np.abs(away).max()) * slopes
    process = fit(
        scale.units(multipliers), bent, gradients, np.full(len(bent), (_VALUE_ERROR * size) ** 2), errors**2
    )  # fmt: skip
    return process, process.cost - float(np.log(slopes).sum())
