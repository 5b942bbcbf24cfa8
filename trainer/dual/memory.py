"""What rules remember from one dual step to the next."""

from __future__ import annotations

import numpy as np

from dualsweep.trainer.dual.damping import Damping
from dualsweep.trainer.dual.problem import Vector
from dualsweep.trainer.dual.secant import Learned


def blank(rule: str, size: int) -> Vector:
    """The memory of a rule before its first step: [m], for second-order ones [k, m]."""
    rows = {"newton": Damping.ROWS, "secant": Damping.ROWS + Learned.ROWS + size}
    return np.zeros((rows[rule], size)) if rule in rows else np.zeros(size)
