"""Whether a multiplier oscillates, with what period, and by what factor its step size is too large.

**The model.** Near a solution, in dual steps k, a slack answers a multiplier late, and the multiplier integrates the slack:

    lambda_{k+1} = lambda_k - eta s_k,          s_{k+1} = (1 - rho) s_k + rho kappa (lambda_k - lambda*),

with kappa > 0 the curvature of the dual function (ds*/dlambda) and 0 < rho <= 1 the rate at which the primal catches up.
Eliminating s gives (z - 1)(z - 1 + rho) + eta rho kappa = 0 for the poles z of lambda; in the limit of small steps it is the
damped oscillator lambda'' + rho lambda' + rho eta kappa (lambda - lambda*) = 0, as Platt and Barr 1987, *Constrained Differential
Optimization*, have it for their continuous basic differential multiplier method.

**The factor.** The poles become complex, so that lambda overshoots, where eta exceeds eta_c = rho / (4 kappa): there damping is
critical, and approach is fastest without overshoot. A complex pair has z + z* = 2 - rho and |z|^2 = 1 - rho + eta rho kappa, so

    m = eta / eta_c = |1 - z|^2 / Re(1 - z)^2 = 1 / zeta^2,

zeta the damping ratio. m needs neither kappa nor rho, only the pole: its modulus says how fast a swing dies out, its angle how
fast it turns. In the limit of small steps m = 1 + (angle / -ln |z|)^2, the logarithmic decrement of mechanics.

**The pole** is estimated from the multipliers at the points of a run, L dual steps apart. Sampled so, lambda is an ARMA(2, 1)
series with poles z^L, because the noise of the slacks keeps the swing alive. Least squares would be biased by the moving-average
part; instruments that lie before it are not (two-stage least squares, the covariance form of the modified Yule-Walker equations:
Stoica, Moses 2005, *Spectral Analysis of Signals*, §3.7.1). On a swing without noise the same equations hold exactly.
"""

from __future__ import annotations

import cmath
import math
from dataclasses import dataclass

import numpy as np

from dualsweep.trainer.dual.problem import Vector

#: Below this m the spectrum of the model has no peak away from zero (zeta > 1/sqrt(2)): there is nothing to be seen.
RESONANT = 2.0
#: Full periods that the tail must hold: fewer cannot be told from a wandering series.
PERIODS = 3.0
#: Points that a period must hold: fewer are near the Nyquist limit of 2, where a faster swing looks like this one.
POINTS = 3.0
#: Points of a tail below which nothing is said: three periods of three points are the least, this leaves room for noise.
LEAST = 20
#: The autocorrelation must be at most -TROUGH half a period on and at least PEAK a whole one on, and both beyond the
#: multiples of 1/sqrt(n) (the error of an autocorrelation of noise) below. Chosen on simulated series: see docs/explain.md.
TROUGH, PEAK = 0.2, 0.05
TROUGH_ERRORS, PEAK_ERRORS = 2.0, 1.0
#: Swings (root mean square) below this share of the mean multiplier, or below this weight beside the objective's 1, are left
#: alone: they hardly move the Lagrangian.
SWING, LIGHT_SWING = 0.1, 0.01
#: Instruments of the estimate: two are needed, four halve its scatter, eight pull it towards least squares.
INSTRUMENTS = 4
#: The largest factor reported. Beyond it Re(1 - z) is a small difference, and multipliers that are cut off at zero swing more
#: slowly than the model: the factor is a lower bound then.
LARGEST = 20.0


@dataclass(frozen=True)
class Oscillation:
    """An oscillation: its period in dual steps, how often the tail holds it, mean and size (root mean square) of the multiplier.

    `trough` and `peak` are the autocorrelations about half a period and a whole one on; `excess` is m, at most `LARGEST`.
    """

    period: float
    periods: float
    mean: float
    swing: float
    trough: float
    peak: float
    excess: float


def oscillation(multipliers: Vector, dual_steps: float) -> Oscillation | None:
    """The oscillation in a tail of multipliers [n], points `dual_steps` dual steps apart; None where none is sure."""
    if len(multipliers) < LEAST:
        return None
    level, rest = float(multipliers.mean()), _detrended(multipliers)
    swing = float(np.sqrt(np.mean(rest**2)))
    if swing < max(SWING * abs(level), LIGHT_SWING):
        return None
    sampled = pole(multipliers)
    if sampled.imag <= 0:
        return None
    points = 2 * math.pi / cmath.phase(sampled)
    factor = excess(sampled ** (1.0 / dual_steps))
    if factor < RESONANT or points < POINTS or len(multipliers) / points < PERIODS:
        return None
    trough, peak = _trough_and_peak(rest, points)
    scatter = 1 / math.sqrt(len(multipliers))
    if trough > -max(TROUGH, TROUGH_ERRORS * scatter) or peak < max(PEAK, PEAK_ERRORS * scatter):
        return None
    return Oscillation(points * dual_steps, len(multipliers) / points, level, swing, trough, peak, min(factor, LARGEST))


def excess(z: complex) -> float:
    """m = |1 - z|^2 / Re(1 - z)^2 of the pole z at single dual steps; infinite where the pole is not damped at all."""
    damping = (1 - z).real
    return abs(1 - z) ** 2 / damping**2 if damping > 0 else math.inf


def pole(series: Vector) -> complex:
    """The dominant pole of a series [n], with a linear trend taken out: the one of a complex pair above the real axis, or real.

    0 where the series does not determine one (a constant).
    """
    n, times = len(series), np.linspace(-1, 1, len(series))
    k = np.arange(INSTRUMENTS - 1, n - 2)
    ones = np.ones(len(k))
    regressors = np.column_stack([series[k + 1], series[k], ones, times[k]])
    instruments = np.column_stack([*(series[k - lag] for lag in range(INSTRUMENTS)), ones, times[k]])
    projected = instruments @ np.linalg.lstsq(instruments, regressors, rcond=None)[0]
    first, second = np.linalg.lstsq(projected, series[k + 2], rcond=None)[0][:2]
    roots = np.roots([1.0, -first, -second])
    return complex(max(roots, key=lambda root: (abs(root.imag) > 0, root.imag, abs(root)))) if len(roots) else 0j


def _detrended(series: Vector) -> Vector:
    times = np.linspace(-1, 1, len(series))
    line = np.column_stack([np.ones(len(series)), times])
    rest: Vector = series - line @ np.linalg.lstsq(line, series, rcond=None)[0]
    return rest


def _trough_and_peak(rest: Vector, points: float) -> tuple[float, float]:
    """The least autocorrelation within a quarter period of half a period, and the largest near a whole one."""
    correlations = np.correlate(rest, rest, "full")[len(rest) - 1 :]
    correlations = correlations / correlations[0]
    half, whole, quarter = round(points / 2), round(points), max(1, round(points / 4))
    trough = correlations[max(1, half - quarter) : half + quarter + 1].min()
    return float(trough), float(correlations[whole - quarter : whole + quarter + 1].max())
