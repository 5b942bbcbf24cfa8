"""Critical values for several looks at data that grow: alpha spending.

Looking again and again at one level would wrongly reject ever more often. Spending fixes beforehand how much of the level alpha
may have been used up when a share t of the largest sample is there (Lan and DeMets 1983, Biometrika 70), here alpha t^2 (Kim and
DeMets 1987, Biometrika 74). The score at look k is that of a Gaussian walk, S(t_k) / sqrt(t_k), so the chance that it crosses
there for the first time is one integral over its density at the look before (Armitage, McPherson and Rowe 1969, J. R. Statist.
Soc. A 132).
"""

from __future__ import annotations

import math
from functools import cache, partial

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

from dualsweep.trainer.dual.problem import Vector
from dualsweep.trainer.feasibility.standing import Criticals, fixed_criticals
from dualsweep.trainer.recipe.bound import Kind

#: The exponent of the share that is spent: little early, where going on costs the fewest draws.
POWER = 2.0
#: Densities of scores are tabulated from this far below 0 up to the boundary, at so many points.
_LOWEST, _POINTS = -8.0, 801


@cache
def boundaries(level: float, shares: tuple[float, ...]) -> tuple[float, ...]:
    """The normal score that each look has to reach, in a one-sided test of `level` over all of them.

    shares  of the largest sample at each look, rising to 1. Looks that are not taken lower the error of the test, and so do
            scores that vary together more than those of growing samples.
    """
    spent = [level * share**POWER for share in shares]
    thresholds = [float(-ndtri(spent[0]))]
    scores = np.linspace(_LOWEST, thresholds[0], _POINTS)
    mass = np.exp(-0.5 * scores**2) / math.sqrt(2.0 * math.pi) * _weights(scores)
    for before, now, allowed in zip(shares[:-1], shares[1:], np.diff(spent), strict=True):
        walked, step = scores * math.sqrt(before), math.sqrt(now - before)
        thresholds.append(float(brentq(partial(_excess, mass, walked / step, math.sqrt(now) / step, allowed), -2.0, 10.0)))
        scores = np.linspace(_LOWEST, thresholds[-1], _POINTS)
        steps = (scores[:, None] * math.sqrt(now) - walked) / step
        density = np.exp(-0.5 * steps**2) @ mass * math.sqrt(now / (2.0 * math.pi)) / step
        mass = density * _weights(scores)
    return tuple(thresholds)


def looks(confidence: float, among: int, kind: Kind, shares: tuple[float, ...]) -> list[Criticals]:
    """The critical values of each look at a constraint `among` so many (`dualsweep.trainer.feasibility.standing`)."""
    if len(shares) == 1:
        return [fixed_criticals(confidence, among, kind)]
    level, sides = 1.0 - confidence, 2 if kind == "equals" else 1
    each = boundaries(level, shares), boundaries(level / (sides * max(1, among)), shares)
    return [Criticals(met, violated) for met, violated in zip(*each, strict=True)]


def _excess(mass: Vector, walked: Vector, scale: float, allowed: float, boundary: float) -> float:
    """By how much the chance of crossing `boundary` exceeds what is allowed; `walked` and `scale` in units of the step."""
    return float(mass @ ndtr(walked - boundary * scale)) - allowed


def _weights(points: Vector) -> Vector:
    """Simpson's, of an odd number of equidistant points."""
    weights = np.full(len(points), 2.0)
    weights[1::2], weights[[0, -1]] = 4.0, 1.0
    result: Vector = weights * (points[1] - points[0]) / 3.0
    return result
