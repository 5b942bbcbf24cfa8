"""What rules remember from one dual step to the next."""

from __future__ import annotations

import numpy as np

from dualsweep.trainer.dual.problem import Vector
from dualsweep.trainer.dual.registry import rule_of
from dualsweep.trainer.recipe.own_part import OwnPart


def blank(rule: str | OwnPart, size: int) -> Vector:
    """The memory of a rule before its first step: [m], or [k, m] of one that says how many rows it needs."""
    rows = rule_of(rule).rows
    return np.zeros(size) if rows is None else np.zeros((rows(size), size))
