"""Exponentiated gradient on the simplex (Kivinen & Warmuth 1997)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dualsweep.trainer.dual.rule import DualRule, Gains, Move

if TYPE_CHECKING:
    from dualsweep.trainer.dual.problem import Vector

LEAST_WEIGHT = 1e-12


def mirror(multipliers: Vector, memory: Vector, slacks: Vector, gain: float, gains: Gains) -> Move:
    """lambda_i <- lambda_i exp(-eta s_i) / sum_j lambda_j exp(-eta s_j): exponentiated gradient on the simplex.

    Kivinen & Warmuth 1997. The step depends on differences of slacks only. Weights start from at least `LEAST_WEIGHT`: one
    that had underflowed to 0 could never return.
    """
    import numpy as np

    exponents = np.log(np.maximum(multipliers, LEAST_WEIGHT)) - gain * gains.step_size * slacks
    weights = np.exp(exponents - exponents.max())
    return Move(weights / weights.sum(), memory)


RULE = DualRule(mirror, on_simplex=True, proportional=True)
