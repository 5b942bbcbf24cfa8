"""Second-order dual steps, which two rules share: `newton`, whose Hessian is measured, and `secant`, which learns one.

Near a solution the slacks answer to the multipliers as s(lambda + d) = s + H d, with H [m, m] the Hessian of minus the dual
function, positive semi-definite. Both rules take the d that minimises s . d + d . H d / 2 with lambda + d inside its domain
and |d_i| <= trust, and of it the share that `Damping` allows. Where H is not known they fall back to ascent, H_ii = 1 /
step_size. Resilience adds 1 / alpha_i to H_ii ([RCL]: the relaxed slack is s_i + lambda_i / alpha_i).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dualsweep.trainer.dual.damping import Damping
from dualsweep.trainer.dual.problem import Booleans, Vector
from dualsweep.trainer.dual.rule import Gains

#: Ridge on the Hessian, a share of its diagonal: perfectly correlated constraints share their step.
RIDGE = 1e-6


@dataclass(frozen=True)
class Measured:
    """What a second-order step sees.

    slacks, errors  [m] without relaxation, and their standard errors (0 where unknown)
    usable          [m] whose slacks are known
    curvature       [m, m] ds/dlambda, NaN where not measured; None where nothing was
    softness        [m] 1 / alpha, 0 for hard constraints
    lowest, highest [m] the domain of the multipliers
    relative        [m] whose sum is at most `limit`, which is part of the domain; None: none
    """

    slacks: Vector
    errors: Vector
    usable: Booleans
    curvature: Vector | None
    softness: Vector
    lowest: Vector
    highest: Vector
    relative: Booleans | None = None
    limit: float = np.inf


def residual(multipliers: Vector, measured: Measured) -> Vector:
    """The relaxed slacks [m], 0 where unknown or where the multiplier is at a bound that it is to stay at."""
    relaxed = measured.slacks + multipliers * measured.softness
    idle = ((multipliers <= measured.lowest) & (relaxed > 0)) | ((multipliers >= measured.highest) & (relaxed < 0))
    result: Vector = np.where(idle | ~measured.usable, 0.0, relaxed)
    return result


def step(multipliers: Vector, damping: Damping, measured: Measured, hessian: Vector, gain: float, trust: float) -> Vector:
    """The damped step [m], within the trust radius; 0 where the slack is not usable."""
    full = full_step(multipliers, measured, hessian, trust)
    return np.where(measured.usable, gain * damping.weights * full, 0.0)


def full_step(multipliers: Vector, measured: Measured, hessian: Vector, trust: float) -> Vector:
    """The step [m] to the minimum of s . d + d . H d / 2 within the domain and `trust`."""
    relaxed = measured.slacks + multipliers * measured.softness
    low = np.maximum(measured.lowest - multipliers, -trust)
    high = np.minimum(measured.highest - multipliers, trust)
    gradient = np.where(measured.usable, relaxed, 0.0)
    full = minimiser(hessian, gradient, low, high)
    if measured.relative is not None:
        room = max(0.0, measured.limit - float(multipliers[measured.relative].sum()))
        full = _with_limit(full, hessian, gradient, low, high, measured.relative, room)
    return full


def completed(curvature: Vector | None, measured: Measured, gains: Gains) -> Vector:
    """The Hessian [m, m] of the relaxed dual: as measured, with ascent's 1 / step_size on the diagonal where it is not."""
    size = len(measured.slacks)
    fallback = np.diag(np.broadcast_to(1.0 / np.asarray(gains.step_size, dtype=np.float64), (size,)))
    if curvature is None:
        return fallback + np.diag(measured.softness)
    diagonal = np.diag(curvature)
    known = measured.usable & np.isfinite(diagonal) & (diagonal > 1e-12)
    pair = known[:, None] & known[None, :] & np.isfinite(curvature)
    hessian = np.where(pair, curvature, np.where(np.eye(size, dtype=bool), fallback, 0.0))
    result: Vector = hessian + np.diag(measured.softness + RIDGE * np.diag(hessian))
    return result if np.linalg.eigvalsh(result)[0] > 0 else np.diag(np.diag(result))


def minimiser(hessian: Vector, gradient: Vector, low: Vector, high: Vector) -> Vector:
    """The d that minimises gradient . d + d . hessian d / 2 with low <= d <= high, shape [m]; `hessian` positive definite.

    Where a bound holds it back, by bounded least squares on the Cholesky factor, exact (Stark & Parker 1995).
    """
    free: Vector = np.asarray(-np.linalg.solve(hessian, gradient), dtype=np.float64)
    if ((low <= free) & (free <= high)).all():
        return free
    factor = np.linalg.cholesky(hessian)
    target = -np.linalg.solve(factor, gradient)
    from scipy.optimize import lsq_linear  # a third of a second, which coordinators of other rules need not wait for

    result: Vector = lsq_linear(factor.T, target, bounds=(low, high), method="bvls").x
    return result


def _with_limit(
    free: Vector, hessian: Vector, gradient: Vector, low: Vector, high: Vector, relative: Booleans, room: float
) -> Vector:
    """The minimiser [m] as before that also has a sum over `relative` [m] of at most `room`; `free` is the one without.

    Lagrange: it is the minimiser with gradient + mu over `relative`, at the mu >= 0 at which the sum is `room`; the sum falls
    with mu, along pieces of lines.
    """

    def above(price: float) -> float:
        return float(minimiser(hessian, gradient + price * relative, low, high)[relative].sum()) - room

    if free[relative].sum() <= room:
        return free
    top = float(np.abs(gradient).max()) + 1.0
    while above(top) > 0:
        top *= 4.0
    from scipy.optimize import brentq

    return minimiser(hessian, gradient + brentq(above, 0.0, top, xtol=1e-13) * relative, low, high)
