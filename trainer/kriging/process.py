"""Gradient-enhanced kriging: a Gaussian process fitted to values and gradients with known standard errors.

The mean is a constant, estimated with the fit; length scales and the process's variance are those of the largest posterior
density, with weak log-normal priors that keep a few trials from claiming a length of nothing or of everything.

Sources: Morris, Mitchell and Ylvisaker (1993), Technometrics 35, for kriging with derivatives; Rasmussen and Williams
(2006), equation 5.8, for the likelihood, and section 2.7 for the constant mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_solve, cholesky
from scipy.optimize import minimize

from dualsweep.trainer.dual.problem import Vector
from dualsweep.trainer.kriging.kernel import joint_covariance

#: Relative to the process's variance: keeps nearly equal rows apart in floating point.
_JITTER = 1e-9
#: Natural logarithms: the priors' means and standard deviations of the lengths (in box units) and of the amplitude.
_LENGTH, _LENGTH_SD = np.log(0.7), 0.8
_AMPLITUDE, _AMPLITUDE_SD = np.log(1.0), 1.5


@dataclass(frozen=True)
class Kriging:
    """A fitted process over points in box units; values are in the units that were given.

    `cost` is minus the log density of what was fitted, with that of the priors.
    """

    points: Vector
    lengths: Vector
    amplitude: float
    mean: float
    scale: float
    weights: Vector
    cost: float

    def predict(self, at: Vector) -> tuple[Vector, Vector]:
        """Means [N] and gradients [N, m] at points [N, m]."""
        found = self.amplitude**2 * (joint_covariance(at, self.points, self.lengths) @ self.weights)
        table = found.reshape(1 + at.shape[1], len(at)) * self.scale
        return table[0] + self.mean, table[1:].T


def fit(points: Vector, values: Vector, gradients: Vector, value_variances: Vector, gradient_variances: Vector) -> Kriging:
    """Fits `values` [n] and `gradients` [n, m] at `points` [n, m], with the variances [n] and [n, m] of their errors."""
    size = points.shape[1]
    scale = max(float(np.ptp(values)), float(np.abs(gradients).max(initial=0.0)) * 0.3, 1e-12)
    middle = float(values.mean())
    data = np.concatenate([(values - middle) / scale, (gradients / scale).T.ravel()])
    noise = np.concatenate([value_variances, gradient_variances.T.ravel()]) / scale**2
    ones = np.concatenate([np.ones(len(values)), np.zeros(gradients.size)])
    begin = np.concatenate([np.full(size, _LENGTH), [_AMPLITUDE]])
    bounds = [(np.log(0.05), np.log(20.0))] * size + [(np.log(0.05), np.log(50.0))]
    best = minimize(_cost, begin, (points, data, noise, ones), method="L-BFGS-B", bounds=bounds, options={"maxiter": 60})
    lengths, amplitude = np.exp(best.x[:-1]), float(np.exp(best.x[-1]))
    _, mean, weights = _solve(lengths, amplitude, points, data, noise, ones)
    return Kriging(
        points, lengths, amplitude, mean * scale + middle, scale, weights, float(best.fun) + data.size * float(np.log(scale))
    )


def _solve(
    lengths: Vector, amplitude: float, points: Vector, data: Vector, noise: Vector, ones: Vector
) -> tuple[Vector, float, Vector]:
    """The Cholesky factor, the constant mean by generalised least squares, and the weights of the residuals."""
    covariance = amplitude**2 * joint_covariance(points, points, lengths)
    diagonal = covariance.diagonal()
    covariance[np.diag_indices_from(covariance)] = diagonal * (1.0 + _JITTER) + noise
    factor = cholesky(covariance, lower=True, check_finite=False)
    solved = cho_solve((factor, True), np.column_stack([data, ones]), check_finite=False)
    mean = float(ones @ solved[:, 0] / (ones @ solved[:, 1]))
    return factor, mean, solved[:, 0] - mean * solved[:, 1]


def _cost(logs: Vector, points: Vector, data: Vector, noise: Vector, ones: Vector) -> float:
    """Minus the log posterior density of the lengths' and the amplitude's logarithms, up to a constant."""
    try:
        factor, mean, weights = _solve(np.exp(logs[:-1]), float(np.exp(logs[-1])), points, data, noise, ones)
    except np.linalg.LinAlgError:
        return 1e25
    fitted = 0.5 * float((data - mean * ones) @ weights) + float(np.log(factor.diagonal()).sum())
    prior = 0.5 * float((((logs[:-1] - _LENGTH) / _LENGTH_SD) ** 2).sum())
    return fitted + prior + 0.5 * float((logs[-1] - _AMPLITUDE) / _AMPLITUDE_SD) ** 2
