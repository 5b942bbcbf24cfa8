"""Second-order dual rules: Newton with a measured Hessian, and secant with one learned from the steps themselves.

Near a solution the slacks answer to the multipliers as s(lambda + d) = s + H d, with H [m, m] the Hessian of minus the dual
function, positive semi-definite. Both rules take the d that minimises s . d + d . H d / 2 with lambda + d inside its domain
and |d_i| <= trust, and of it the share that `Damping` allows. Where H is not known they fall back to ascent, H_ii = 1 /
step_size. Resilience adds 1 / alpha_i to H_ii ([RCL]: the relaxed slack is s_i + lambda_i / alpha_i).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import lsq_linear

from trainer.dual.damping import NOISE, RUN, Damping
from trainer.dual.rules import Gains, Move
from trainer.problem import Booleans, Vector

#: Ridge on the Hessian, a share of its diagonal: perfectly correlated constraints share their step.
RIDGE = 1e-6
#: Moves below this share of the trust radius tell nothing of curvature: the primal's own movement drowns their effect.
LEAST_MOVE = 1e-3
#: A learned curvature so many times that of the fallback, with the residual of one sign for long, has stalled the multiplier.
STALLED = 10.0


@dataclass(frozen=True)
class Measured:
    """What a second-order step sees.

    slacks, errors  [m] without relaxation, and their standard errors (0 where unknown)
    usable          [m] whose slacks are known
    curvature       [m, m] ds/dlambda, NaN where not measured; None where nothing was
    softness        [m] 1 / alpha, 0 for hard constraints
    lowest, highest [m] the domain of the multipliers
    """

    slacks: Vector
    errors: Vector
    usable: Booleans
    curvature: Vector | None
    softness: Vector
    lowest: Vector
    highest: Vector


SecondOrder = Callable[[Vector, Vector, Measured, float, Gains], Move]


def newton(multipliers: Vector, memory: Vector, measured: Measured, gain: float, gains: Gains) -> Move:
    """lambda <- lambda - w H^-1 s with H from the samples' covariance (`Problem.curvature`).

    The covariance belongs to the model that the slacks were measured on, so the step is Newton's on the dual function where that
    model is the best response, and a scaled ascent where it lags. memory: [4, m].
    """
    damping = Damping.unpack(memory).see(*_residual(multipliers, measured))
    return Move(multipliers + _step(multipliers, damping, measured, measured.curvature, gain, gains), damping.pack())


@dataclass(frozen=True)
class Learned:
    """The secant rule's Hessian [m, m], and the point (lambda, s) [m] that the next difference is taken from.

    `state` [m] is 0 before the first point, 1 while a difference must set the Hessian anew, 2 once one has; `age` [m] counts
    the dual steps since the point. A Hessian of zeros is not known yet.
    """

    state: Vector
    age: Vector
    multipliers: Vector
    slacks: Vector
    hessian: Vector

    ROWS = 4

    @classmethod
    def unpack(cls, memory: Vector) -> Learned:
        rows = memory[Damping.ROWS :]
        return cls(*rows[: cls.ROWS], rows[cls.ROWS :])

    def pack(self, damping: Damping) -> Vector:
        rows = np.stack([self.state, self.age, self.multipliers, self.slacks])
        return np.concatenate([damping.pack(), rows, self.hessian])

    def see(self, multipliers: Vector, measured: Measured, before: Damping, after: Damping, gains: Gains) -> Learned:
        """With the change of the slacks since the last point, where it stands out of the noise.

        After an overshoot the Hessian was too small, because the primal had not answered in full: the next difference sets it
        anew, and is taken over 1 + k steps. A Hessian that stalls is forgotten.
        """
        if not measured.usable.all():
            return self
        if ((after.run > RUN) & (np.diag(self.hessian) * gains.step_size > STALLED)).any():
            return Learned.unpack(blank("secant", len(multipliers)))
        point = Learned(np.maximum(self.state, 1.0), np.zeros_like(self.age), multipliers, measured.slacks, self.hessian)
        if (after.overshoots > before.overshoots).any():
            return replace(point, state=np.ones_like(self.state))
        waiting = replace(self, age=self.age + 1.0)
        if self.state.min() < 1:
            return point
        moved, answered = multipliers - self.multipliers, measured.slacks - self.slacks
        noise = 2.0 * measured.errors**2  # of a difference of two slacks
        if np.abs(moved).max() < LEAST_MOVE * gains.trust:
            return waiting
        if waiting.age.max() <= after.k.max() or (answered**2).sum() <= NOISE**2 * noise.sum():
            return waiting  # the point stays, so that small moves add up until they can be told from noise
        if moved @ answered <= 0:
            return point  # no curvature to learn: the primal still answers to something else
        hessian = damped_bfgs(self.hessian, moved, answered) if self.state.min() >= 2 else _first(moved, answered)
        return replace(point, state=np.full_like(self.state, 2.0), hessian=hessian)


def secant(multipliers: Vector, memory: Vector, measured: Measured, gain: float, gains: Gains) -> Move:
    """lambda <- lambda - w B^-1 s with B learned from successive (lambda, s): needs no joint samples.

    The first difference sets B's diagonal, later ones update it by damped BFGS. memory: [8 + m, m].
    """
    before = Damping.unpack(memory)
    damping = before.see(*_residual(multipliers, measured))
    learned = Learned.unpack(memory).see(multipliers, measured, before, damping, gains)
    known = learned.hessian if learned.hessian.any() else None
    return Move(multipliers + _step(multipliers, damping, measured, known, gain, gains), learned.pack(damping))


def _first(moved: Vector, answered: Vector) -> Vector:
    """The diagonal of quotients, each within a factor of 30 of the secant along the whole step."""
    scale = float(moved @ answered / (moved @ moved))
    quotients = np.divide(answered, moved, out=np.full_like(moved, scale), where=moved != 0)
    return np.diag(np.clip(quotients, scale / 30.0, scale * 30.0))


def damped_bfgs(hessian: Vector, moved: Vector, answered: Vector) -> Vector:
    """B - B d d^T B / (d^T B d) + y y^T / (d^T y), with y damped so that B stays positive definite.

    Powell's damping (Nocedal & Wright 2006, Procedure 18.2); d = `moved`, y = `answered`.
    """
    pushed = hessian @ moved
    old, new = float(moved @ pushed), float(moved @ answered)
    share = 1.0 if new >= 0.2 * old else 0.8 * old / (old - new)
    damped = share * answered + (1.0 - share) * pushed
    result: Vector = hessian - np.outer(pushed, pushed) / old + np.outer(damped, damped) / float(moved @ damped)
    return result


def _residual(multipliers: Vector, measured: Measured) -> tuple[Vector, Vector]:
    """The relaxed slacks [m], 0 where unknown or where the multiplier is at a bound that it is to stay at, and their errors."""
    relaxed = measured.slacks + multipliers * measured.softness
    idle = ((multipliers <= measured.lowest) & (relaxed > 0)) | ((multipliers >= measured.highest) & (relaxed < 0))
    return np.where(idle | ~measured.usable, 0.0, relaxed), measured.errors


def _step(
    multipliers: Vector, damping: Damping, measured: Measured, curvature: Vector | None, gain: float, gains: Gains
) -> Vector:
    """The damped step [m]; 0 where the slack is not usable."""
    relaxed = measured.slacks + multipliers * measured.softness
    low = np.maximum(measured.lowest - multipliers, -gains.trust)
    high = np.minimum(measured.highest - multipliers, gains.trust)
    full = minimiser(completed(curvature, measured, gains), np.where(measured.usable, relaxed, 0.0), low, high)
    return np.where(measured.usable, gain * damping.weights * full, 0.0)


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
    free: Vector = -np.linalg.solve(hessian, gradient)
    if ((low <= free) & (free <= high)).all():
        return free
    factor = np.linalg.cholesky(hessian)
    target = -np.linalg.solve(factor, gradient)
    result: Vector = lsq_linear(factor.T, target, bounds=(low, np.maximum(high, low + 1e-300)), method="bvls").x
    return result


SECOND_ORDER: dict[str, SecondOrder] = {"newton": newton, "secant": secant}


def blank(rule: str, size: int) -> Vector:
    """The memory of a rule before its first step: [m], for second-order ones [k, m]."""
    rows = {"newton": Damping.ROWS, "secant": Damping.ROWS + Learned.ROWS + size}
    return np.zeros((rows[rule], size)) if rule in rows else np.zeros(size)
