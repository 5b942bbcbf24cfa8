"""Newton's rule, with a Hessian measured from samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dualsweep.trainer.dual.rule import DualRule, Gains, Move

if TYPE_CHECKING:
    from dualsweep.trainer.dual.problem import Vector
    from dualsweep.trainer.dual.second_order import Measured


def newton(multipliers: Vector, memory: Vector, measured: Measured, gain: float, gains: Gains) -> Move:
    """lambda <- lambda - w H^-1 s with H from the samples' covariance (`ConstrainedProblem.curvature`).

    The covariance belongs to the model that the slacks were measured on, so the step is Newton's on the dual function where that
    model is the best response, and a scaled ascent where it lags. memory: [4, m].
    """
    import numpy as np

    from dualsweep.trainer.dual.damping import Damping
    from dualsweep.trainer.dual.second_order import completed, full_step, residual, step

    damping = Damping.unpack(memory).see(residual(multipliers, measured), measured.errors)
    hessian = completed(measured.curvature, measured, gains)
    moved = multipliers + step(multipliers, damping, measured, hessian, gain, gains.trust)
    return Move(moved, damping.pack(), multipliers + full_step(multipliers, measured, hessian, np.inf))


def _rows(_: int) -> int:
    from dualsweep.trainer.dual.damping import Damping

    return Damping.ROWS


RULE = DualRule(newton, second_order=True, rows=_rows, relaxes=True, settles_by="targets", sized_by="dual.trust")
