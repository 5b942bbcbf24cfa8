"""Means and slopes of noisy, autocorrelated series, with honest standard errors."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dualsweep.trainer.dual.problem import Vector

#: The largest lag-1 correlation that errors are widened for: estimates nearer to 1 are noise on short series.
MOST_CORRELATED = 0.9


@dataclass(frozen=True)
class Measured:
    """An estimate and its standard error; both NaN where there is nothing to estimate from."""

    value: float
    error: float

    def below(self, z: float) -> bool:
        """Whether it is under zero by more than `z` standard errors."""
        return math.isfinite(self.value) and self.value < -z * (self.error if math.isfinite(self.error) else math.inf)

    def above(self, z: float) -> bool:
        return Measured(-self.value, self.error).below(z)


def mean(values: Vector) -> Measured:
    """The mean of a series [n], NaN left out, and its standard error, sd / sqrt(n) widened for autocorrelation.

    With a lag-1 correlation phi the mean of n points is worth that of n (1 - phi) / (1 + phi) independent ones
    (Bartlett 1946, for an AR(1) series).
    """
    known = values[np.isfinite(values)]
    if len(known) < 3:
        return Measured(float(known.mean()) if len(known) else math.nan, math.nan)
    return Measured(float(known.mean()), float(known.std(ddof=1)) / math.sqrt(len(known)) * _widening(known - known.mean()))


def slope(times: Vector, values: Vector) -> Measured:
    """The least-squares slope of `values` [n] over `times` [n], NaN left out, its error widened in the same way."""
    known = np.isfinite(values)
    if known.sum() < 4:
        return Measured(math.nan, math.nan)
    t, y = times[known] - times[known].mean(), values[known] - values[known].mean()
    spread = float(t @ t)
    rise = float(t @ y) / spread
    rest = y - rise * t
    return Measured(rise, math.sqrt(float(rest @ rest) / (len(t) - 2) / spread) * _widening(rest))


def linearity(times: Vector, values: Vector) -> float:
    """The squared correlation of `values` with `times`: 1 on a straight line, NaN of a constant."""
    t, y = times - times.mean(), values - values.mean()
    power = float(t @ t) * float(y @ y)
    return float(t @ y) ** 2 / power if power > 0 else math.nan


def _widening(rest: Vector) -> float:
    power = float(rest @ rest)
    phi = float(rest[1:] @ rest[:-1]) / power if power > 0 else 0.0
    phi = min(max(phi, 0.0), MOST_CORRELATED)
    return math.sqrt((1 + phi) / (1 - phi))
