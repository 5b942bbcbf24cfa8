"""Fixed weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dualsweep.trainer.dual.rule import DualRule, Move

if TYPE_CHECKING:
    from dualsweep.trainer.dual.problem import Vector


def fixed(multipliers: Vector, memory: Vector, *_: object) -> Move:
    """lambda <- lambda: fixed weights, the usual baseline; at 0, unconstrained training whose constraints are watched."""
    return Move(multipliers, memory)


RULE = DualRule(fixed)
