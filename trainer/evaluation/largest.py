"""The largest of several values that are each known with an error only.

The largest estimate is too high where values are near each other: chance picks the one that it lifted most. So it has an
interval, [max_i (g_i - c e_i), max_i (g_i + z e_i)]. Its upper end misses only if the value that *is* the largest is missed, one
statement, z; its lower end if any value is, m statements, c (Sidak, J. American Statistical Association 62, 1967).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

Vector = NDArray[np.float64]
CONFIDENCE = 0.95


def largest_interval(values: Vector, errors: Vector) -> tuple[float, float]:
    """An interval at `CONFIDENCE` for the largest of the expectations of `values` [m], whose standard errors are `errors` [m].

    NaN where one is not known.
    """
    one_sided = 0.5 + CONFIDENCE / 2
    of_all = one_sided ** (1.0 / len(values))
    return float(np.max(values - ndtri(of_all) * errors)), float(np.max(values + ndtri(one_sided) * errors))


def is_apart(values: Vector, covariance: Vector) -> bool:
    """Whether the largest of `values` [m] lies above each other one by more than chance explains, at `CONFIDENCE`.

    `covariance` [m, m] is that of the values. Then its own error is that of the largest.
    """
    first = int(np.argmax(values))
    variance = covariance[first, first] + covariance.diagonal() - 2.0 * covariance[first]
    others = np.arange(len(values)) != first
    away = (values[first] - values)[others]
    bound = ndtri((0.5 + CONFIDENCE / 2) ** (1.0 / max(1, len(values) - 1)))
    return bool((away > bound * np.sqrt(np.maximum(variance[others], 0.0))).all())
