"""The secant rule: a Hessian learned from successive multipliers and slacks, for problems without joint samples.

Differences mislead where noise or a lagging primal makes them. So one counts only where it stands out of the noise; no step
goes much farther than the differences reached; and an overshoot either teaches a larger Hessian or is answered by `Damping`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dualsweep.trainer.dual.damping import NOISE, RUN, Damping
from dualsweep.trainer.dual.problem import Booleans, Vector
from dualsweep.trainer.dual.rule import Gains, Move
from dualsweep.trainer.dual.second_order import Measured, completed, residual, step

#: Moves below this share of the trust radius tell nothing of curvature: the primal's own movement drowns their effect.
LEAST_MOVE = 1e-3
#: A step goes at most so many times as far as the last difference that was used.
REACH = 10.0
#: The first difference's quotients differ by at most so much from the curvature along the whole of it.
SPREAD = 5.0
#: An overshoot is explained where the quotient of the new difference is so many times the curvature in use; a multiplier is
#: forgiven so many of them: a primal that lags explains any number.
EXPLAINED, FORGIVEN = 1.25, 3
#: A learned curvature so many times that of the fallback, with the residual of one sign for long, has stalled the multiplier.
STALLED = 10.0


@dataclass(frozen=True)
class Learned:
    """The Hessian [m, m], and the point (lambda, s) [m] that the next difference is taken from.

    `state` [m] is 0 before the first point, 1 while a difference must set the Hessian anew, 2 once one has; `age` [m] counts
    the dual steps since the point; `reach` [m] is the largest move of the last difference; `forgiven` [m] counts explained
    overshoots. A Hessian of zeros is not known yet.
    """

    state: Vector
    age: Vector
    reach: Vector
    forgiven: Vector
    multipliers: Vector
    slacks: Vector
    hessian: Vector

    ROWS = 6

    @classmethod
    def unpack(cls, memory: Vector) -> Learned:
        rows = memory[Damping.ROWS :]
        state, age, reach, forgiven, multipliers, slacks = rows[: cls.ROWS]
        return cls(state, age, reach, forgiven, multipliers, slacks, rows[cls.ROWS :])

    def pack(self, damping: Damping) -> Vector:
        rows = np.stack([self.state, self.age, self.reach, self.forgiven, self.multipliers, self.slacks])
        return np.concatenate([damping.pack(), rows, self.hessian])

    def explains(self, multipliers: Vector, slacks: Vector) -> Booleans:
        """Whose slack [m] answered to the last move by more than the Hessian in use foresaw, and that may still be forgiven."""
        moved, answered = multipliers - self.multipliers, slacks - self.slacks
        result: Booleans = answered * np.sign(moved) > EXPLAINED * np.diag(self.hessian) * np.abs(moved)
        return result & (self.forgiven < FORGIVEN) & bool(self.state.min() >= 1)

    def see(self, multipliers: Vector, measured: Measured, damping: Damping, overshot: bool, gains: Gains) -> Learned:
        """What is known after one more dual step: learns from the slacks' change since the last point where it exceeds the noise.

        After an overshoot that the difference does not explain, the primal has not answered in full: the next difference
        sets the Hessian anew, and is taken over 1 + k steps. A Hessian that stalls is forgotten.
        """
        if not measured.usable.all():
            return self
        size = len(multipliers)
        if ((damping.run > RUN) & (np.diag(self.hessian) * gains.step_size > STALLED)).any():
            return replace(self, state=np.zeros(size), hessian=np.zeros((size, size)))
        point = replace(
            self, state=np.maximum(self.state, 1.0), age=np.zeros(size), multipliers=multipliers, slacks=measured.slacks
        )
        if overshot:
            return replace(point, state=np.ones(size))
        if self.state.min() < 1:
            return point
        waiting = replace(self, age=self.age + 1.0)
        moved, answered = multipliers - self.multipliers, measured.slacks - self.slacks
        noise = np.sqrt(2.0) * measured.errors  # of a difference of two slacks
        told = (answered**2).sum() > NOISE**2 * (noise**2).sum() and np.abs(moved).max() >= LEAST_MOVE * gains.trust
        if waiting.age.max() <= damping.k.min() or not told:
            return waiting  # the point stays, so that small moves add up until they can be told from noise
        if moved @ answered <= 0:
            return point  # no curvature to learn: the primal still answers to something else
        known = self.state.min() >= 2
        hessian = damped_bfgs(self.hessian, moved, answered) if known else diagonal(moved, answered, noise)
        return replace(point, state=np.full(size, 2.0), reach=np.full(size, np.abs(moved).max()), hessian=hessian)


def secant(multipliers: Vector, memory: Vector, measured: Measured, gain: float, gains: Gains) -> Move:
    """lambda <- lambda - w B^-1 s with B learned from successive (lambda, s): needs no joint samples.

    The first difference sets B's diagonal, later ones update it by damped BFGS; until then ascent. memory: [10 + m, m].
    """
    before, learned = Damping.unpack(memory), Learned.unpack(memory)
    left = residual(multipliers, measured)
    overshot = before.overshot(left, measured.errors)
    explained = overshot & learned.explains(multipliers, measured.slacks)
    damping = before.see(left, measured.errors, explained)
    learned = replace(learned, forgiven=learned.forgiven + explained)
    learned = learned.see(multipliers, measured, damping, bool((overshot & ~explained).any()), gains)
    if not learned.hessian.any():
        hessian, trust = completed(None, measured, gains), gains.trust
    else:
        hessian = completed(learned.hessian, measured, gains)
        trust = min(gains.trust, REACH * float(learned.reach.max()))
    return Move(multipliers + step(multipliers, damping, measured, hessian, gain, trust), learned.pack(damping))


def diagonal(moved: Vector, answered: Vector, noise: Vector) -> Vector:
    """The diagonal [m, m] of quotients of a difference, near the curvature along it; that itself where noise hides one."""
    scale = float(moved @ answered / (moved @ moved))
    clear = (np.abs(answered) > NOISE * noise) & (moved != 0)
    quotients = np.divide(answered, moved, out=np.full_like(moved, scale), where=clear)
    return np.diag(np.clip(quotients, scale / SPREAD, scale * SPREAD))


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
