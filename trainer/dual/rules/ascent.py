"""Projected gradient ascent ([CDM] Alg. 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dualsweep.trainer.dual.rule import DualRule, Gains, Move

if TYPE_CHECKING:
    from dualsweep.trainer.dual.problem import Vector


def ascent(multipliers: Vector, memory: Vector, slacks: Vector, gain: float, gains: Gains) -> Move:
    """lambda <- [lambda - eta s]_+   (projected gradient ascent, [CDM] Alg. 1).

    Projected onto the simplex instead it is the Euclidean rule ([CCA] Alg. 2), with relaxed slacks the resilient one, and
    with eta = rho the multiplier step of the augmented Lagrangian, whose primal applies `ahead`.
    """
    return Move(multipliers - gain * gains.step_size * slacks, memory)


RULE = DualRule(ascent, relaxes=True, proportional=True)
