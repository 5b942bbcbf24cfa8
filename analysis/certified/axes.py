"""The searched budgets as axes of a box: from the user's numbers to budgets of `g <= b`, and to units, 0 tight and 1 loose.

| sense    | the user's number c  | here                  | 0 is            |
|----------|----------------------|-----------------------|-----------------|
| at_most  | value <= c           | g = value, b = c      | the smallest c  |
| at_least | value >= c           | g = -value, b = -c    | the largest c   |
| equals   | value = c            | g = value, b = c      | the smallest c  |

The front's mathematics (planes, hull) is in b; a surrogate and distances are in units, which are logarithmic where the
search is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dualsweep.analysis.certified.observations import Vector
from dualsweep.trainer.recipe.bound import Sense


@dataclass(frozen=True)
class Axis:
    """One budget: the user's range [low, high], drawn by its logarithm or not, whole steps of `step` or not."""

    low: float
    high: float
    sense: Sense = "at_most"
    log: bool = False
    step: float | None = None

    @property
    def sign(self) -> float:
        """b = sign c."""
        return -1.0 if self.sense == "at_least" else 1.0

    def to_user(self, units: Vector) -> Vector:
        """The user's numbers at units in [0, 1], on a step where there are steps."""
        shares = 1.0 - units if self.sense == "at_least" else units
        span = self.high - self.low
        numbers = self.low * (self.high / self.low) ** shares if self.log else self.low + shares * span
        if self.step is not None:
            numbers = self.low + np.round((numbers - self.low) / self.step) * self.step
        result: Vector = np.where(shares >= 1.0, self.high, np.clip(numbers, self.low, self.high))  # ends to the last digit
        return result

    def to_units(self, budgets: Vector) -> Vector:
        """Units of budgets b, also beyond the box; below a logarithmic range it goes on along its tangent."""
        numbers = self.sign * budgets
        shares = (numbers - self.low) / (self.high - self.low)
        if self.log:
            span = np.log(self.high / self.low)
            above = np.log(np.maximum(numbers, self.low) / self.low) / span
            shares = np.where(numbers > self.low, above, (numbers - self.low) / (self.low * span))
        result: Vector = 1.0 - shares if self.sense == "at_least" else shares
        return result

    def slopes(self, budgets: Vector) -> Vector:
        """db/du at budgets b: positive, since b grows from tight to loose whatever the sense."""
        if not self.log:
            return np.full_like(budgets, self.high - self.low)
        result: Vector = np.maximum(self.sign * budgets, self.low) * np.log(self.high / self.low)
        return result


@dataclass(frozen=True)
class Box:
    """All axes together; arrays have one column for each."""

    axes: tuple[Axis, ...]

    @property
    def signed(self) -> np.ndarray:
        """Which budgets are met with equality [m]."""
        return np.array([axis.sense == "equals" for axis in self.axes], dtype=np.bool_)

    @property
    def tight(self) -> Vector:
        """The tight end b [m]."""
        result: Vector = self.to_budgets(np.zeros((1, len(self.axes))))[0]
        return result

    @property
    def loose(self) -> Vector:
        """The loose end b [m]."""
        result: Vector = self.to_budgets(np.ones((1, len(self.axes))))[0]
        return result

    def to_budgets(self, units: Vector) -> Vector:
        """Budgets b [N, m] at units [N, m]."""
        columns = [axis.sign * axis.to_user(units[:, i]) for i, axis in enumerate(self.axes)]
        return np.stack(columns, axis=1) if columns else units

    def to_units(self, budgets: Vector) -> Vector:
        """Units [N, m] of budgets [N, m]."""
        return self._columns("to_units", budgets)

    def slopes(self, budgets: Vector) -> Vector:
        """db/du [N, m] at budgets [N, m]."""
        return self._columns("slopes", budgets)

    def _columns(self, method: str, budgets: Vector) -> Vector:
        columns: Sequence[Vector] = [getattr(axis, method)(budgets[:, i]) for i, axis in enumerate(self.axes)]
        return np.stack(columns, axis=1)
