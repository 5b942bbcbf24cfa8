"""Standard errors of means over few trainings, alike but for their seeds, as the band may take them: for those of normal figures.

The variance s^2 between R seeds has R - 1 degrees of freedom, and is often far too small by luck where these are 1 or 2. All
trials of a sweep together tell how such variances lie: as s_0^2 times an inverse chi-square of d_0 degrees of freedom, by the
mean and the variance of log s^2. So of each trial it is (d_0 s_0^2 + (R - 1) s^2) / (d_0 + R - 1), but not below its own, and
a margin is as many times a normal one as Student's t of d_0 + R - 1 degrees of freedom is.

Source: Smyth, Linear models and empirical Bayes methods, Stat. Appl. Genet. Mol. Biol. 3, 2004, sections 5 and 6.2.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import digamma, ndtr, polygamma, stdtrit

Vector = NDArray[np.float64]
#: Margins of bands are about so many standard errors, at which those of t are compared with normal ones.
_TYPICAL = 3.0
#: Variances of fewer trials tell nothing of how they lie; a spread of log s^2 that is so near to chance alone is none.
_FEWEST, _NO_SPREAD = 3, 1e-3


def widened(errors: Vector, trainings: NDArray[np.intp]) -> Vector:
    """Standard errors [n] or [n, K] of means over `trainings` [n], as wide as normal figures would need; of one as they are."""
    if errors.ndim == 2:
        return np.column_stack([widened(each, trainings) for each in errors.T])
    several = (trainings > 1) & (errors > 0)
    if not several.any():
        return errors
    variances, own = errors[several] ** 2 * trainings[several], (trainings[several] - 1).astype(np.float64)
    typical, more = _prior(variances, own)
    shrunk = typical if np.isinf(more) else (more * typical + own * variances) / (more + own)
    degrees = np.minimum(own + more, own.sum())
    factor = np.sqrt(np.maximum(shrunk / variances, 1.0)) * stdtrit(degrees, ndtr(_TYPICAL)) / _TYPICAL
    result = errors.copy()
    result[several] *= factor
    return result


def _prior(variances: Vector, own: Vector) -> tuple[float, float]:
    """s_0^2 and d_0 of variances [n] with `own` [n] degrees of freedom; d_0 = 0 where there are too few."""
    if len(variances) < _FEWEST:
        return 0.0, 0.0
    logs = np.log(variances) - digamma(own / 2) + np.log(own / 2)
    spread = float(np.var(logs, ddof=1) - polygamma(1, own / 2).mean())
    if spread <= _NO_SPREAD:
        return float(np.exp(logs.mean())), np.inf
    half = float(brentq(lambda each: float(polygamma(1, each)) - spread, 1e-6, 1e6))
    return float(np.exp(logs.mean() + digamma(half) - np.log(half))), 2.0 * half
