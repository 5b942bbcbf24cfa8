"""Where a noisy series will be at the last step, by its trend: an interval, not a number.

A straight line is fitted to the last half of the points and to the last half of these, and the interval spans both
extrapolations with z standard errors each, widened for autocorrelation (`trainer/verdicts/trend.py`). The second line is there
for what has just begun: a slack that a multiplier starts to move bends upwards, and a line through all of it would miss that.
What slows down, as losses and closing violations do, ends short of its line: there the interval is optimistic.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dualsweep.trainer.dual.problem import Vector
from dualsweep.trainer.verdicts.trend import Measured, mean, slope

#: Points of the last half that a forecast needs; a line through half of them has as many again to spare.
LEAST = 8


@dataclass(frozen=True)
class Forecast:
    """`now`: the mean of the last quarter of the points; `low` and `high`: the ends of the interval at the last step."""

    now: Measured
    low: float
    high: float


def forecast(times: Vector, values: Vector, last: float, z: float) -> Forecast | None:
    """The forecast of `values` [n] over `times` [n] at the time `last`; None where there are too few finite points."""
    known = np.isfinite(values)
    times, values = times[known], values[known]
    half = len(times) // 2
    if half < LEAST:
        return None
    spans = [_span(times[begin:], values[begin:], last, z) for begin in (half, half + half // 2)]
    if any(span is None for span in spans):
        return None
    lows, highs = zip(*(span for span in spans if span is not None), strict=True)
    return Forecast(recent(times, values), min(lows), max(highs))


def recent(times: Vector, values: Vector) -> Measured:
    """The level over the last quarter of the points and its error, the trend within that quarter taken out."""
    known = np.isfinite(values)
    times, values = times[known], values[known]
    part = slice(len(times) - max(len(times) // 4, min(len(times), 4)), None)
    level, rise = mean(values[part]), slope(times[part], values[part])
    if not math.isfinite(rise.value):
        return level
    return Measured(level.value, mean(values[part] - rise.value * (times[part] - times[part].mean())).error)


def _span(times: Vector, values: Vector, last: float, z: float) -> tuple[float, float] | None:
    """The interval of one line: level and slope of a least-squares line are independent."""
    rise = slope(times, values)
    if not math.isfinite(rise.value):
        return None
    level = mean(values - rise.value * (times - times.mean()))
    ahead = last - float(times.mean())
    middle = level.value + rise.value * ahead
    error = math.hypot(level.error, rise.error * ahead)
    return middle - z * error, middle + z * error
