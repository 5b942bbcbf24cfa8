"""Which trials of a sweep are dominated beyond doubt, by the standard errors of their objectives."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dualsweep.analysis.noise import APART

Vector = NDArray[np.float64]


def clearly_dominated(lower: Vector, errors: Vector) -> NDArray[np.bool_]:
    """Say of which of the points [n, m], all minimised, with standard `errors` [n, m], another one is clearly the better.

    It is where it is better in one objective by more than `APART` standard errors of the difference, and in none worse by more
    than that. Without errors that is domination. The errors count as independent, which errs towards a tie where trials were
    measured with common draws.
    """
    beaten = np.zeros(len(lower), dtype=np.bool_)
    for row, (point, error) in enumerate(zip(lower, errors, strict=True)):
        ahead, noise = point - lower, APART * np.hypot(error, errors)
        beaten[row] = ((ahead > noise).any(axis=1) & (ahead >= -noise).all(axis=1)).any()
    return beaten
