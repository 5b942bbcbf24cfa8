"""The secant rule, with a Hessian learned from successive steps (`trainer/dual/secant.py`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dualsweep.trainer.dual.rule import DualRule, Gains, Move

if TYPE_CHECKING:
    from dualsweep.trainer.dual.problem import Vector
    from dualsweep.trainer.dual.second_order import Measured


def _move(multipliers: Vector, memory: Vector, measured: Measured, gain: float, gains: Gains) -> Move:
    from dualsweep.trainer.dual.secant import secant

    return secant(multipliers, memory, measured, gain, gains)


def _rows(size: int) -> int:
    from dualsweep.trainer.dual.damping import Damping
    from dualsweep.trainer.dual.secant import Learned

    return Damping.ROWS + Learned.ROWS + size


RULE = DualRule(_move, second_order=True, rows=_rows, relaxes=True, settles_by="nothing", sized_by="dual.trust")
