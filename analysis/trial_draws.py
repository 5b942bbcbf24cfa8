"""What one trial drew in its final evaluation, and how a sweep's objective and values are made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dualsweep.trainer.evaluation.drawn import DrawnValues

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class TrialDraws:
    """What one trial drew, at which seed; its constraints' names, and which are relative to the objective."""

    drawn: DrawnValues
    seed: int
    names: tuple[str, ...]
    relative: tuple[bool, ...]

    def rows(self, names: Sequence[str]) -> Vector | None:
        """The objective and the values of these constraints as combinations [1 + K, 1 + m] of the expectations."""
        if any(name not in self.names for name in names):
            return None
        whole = np.eye(1 + len(self.names))
        places = [1 + self.names.index(name) for name in names]
        combinations: Vector = whole[[0, *places]]
        combinations[1:, 0] -= [float(self.relative[place - 1]) for place in places]
        return combinations
