"""The augmented Lagrangian: ascent with rho as its step size, whose primal applies the prices `ahead`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dualsweep.trainer.dual.rule import DualRule, Gains
from dualsweep.trainer.dual.rules.ascent import ascent

if TYPE_CHECKING:
    from dualsweep.trainer.dual.problem import Vector


def ahead(multipliers: Vector, slacks: Vector, gain: float, gains: Gains) -> Vector:
    """[lambda - rho s]_+: the price at which the augmented Lagrangian's primal gradient weighs a constraint.

    That gradient is grad f + sum_i [lambda_i - rho s_i]_+ grad g_i (Nocedal & Wright 2006, eq. 17.65). With resilience the
    proximal step on the relaxed dual is lambda' = [lambda - rho (s + lambda' / alpha)]_+, which is this with rho / (1 + rho /
    alpha) for rho on the relaxed slacks (`Gains.of`); it is stable for any rho.
    """
    result: Vector = multipliers - gain * gains.step_size * slacks
    return result


def _proximal(step_size: float | Vector, softness: Vector) -> float | Vector:
    return step_size / (1.0 + step_size * softness) if softness.any() else step_size


RULE = DualRule(ascent, relaxes=True, step_size=_proximal, ahead=ahead)
