"""The points of a front on one scale: every objective minimised, 0 its best and 1 its worst along the front."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dualsweep.analysis.front import to_minimise
from dualsweep.analysis.noise import APART, known, standard_error
from dualsweep.analysis.trials import SweepRecord, Trial

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Points:
    """n trials of a front: `lower` [n, m] minimised values, their standard `errors` (0 where not known), and the `ranges` [m]."""

    names: tuple[str, ...]
    trials: tuple[Trial, ...]
    lower: Vector
    errors: Vector

    @classmethod
    def of(cls, record: SweepRecord, trials: Sequence[Trial]) -> Points:
        names = tuple(record.objectives)
        lower = to_minimise([record.point(trial) for trial in trials], list(record.objectives.values()))
        errors = np.array([[known(standard_error(trial, name)) for name in names] for trial in trials]).reshape(lower.shape)
        return cls(names, tuple(trials), lower, errors)

    @property
    def ranges(self) -> Vector:
        """The range of each objective [m]; 1 of one that does not vary."""
        spans = np.ptp(self.lower, axis=0)
        result: Vector = np.where(spans > 0, spans, 1.0)
        return result

    @property
    def scaled(self) -> Vector:
        """In parts of the ranges [n, m]."""
        result: Vector = (self.lower - self.lower.min(axis=0)) / self.ranges
        return result

    @property
    def scaled_errors(self) -> Vector:
        result: Vector = self.errors / self.ranges
        return result

    @property
    def varying(self) -> Vector:
        """Which objectives [m] differ along the front at all."""
        result: Vector = np.ptp(self.lower, axis=0) > 0
        return result

    def alike(self, i: int, j: int) -> bool:
        """Whether two trials are not told apart: no objective differs by more than noise."""
        error = np.hypot(self.errors[i], self.errors[j])
        return bool((np.abs(self.lower[i] - self.lower[j]) <= APART * error).all())

    def neighbours(self, i: int) -> list[int]:
        """The trials to weigh it against: the next on either side of two objectives, the two nearest of more; no duplicates."""
        others = [j for j in range(len(self.trials)) if (self.lower[j] != self.lower[i]).any()]
        if len(self.names) == 2:
            ahead = [j for j in others if self.lower[j, 0] < self.lower[i, 0]]
            behind = [j for j in others if self.lower[j, 0] > self.lower[i, 0]]
            nearest = [max(ahead, key=lambda j: self.lower[j, 0])] if ahead else []
            return nearest + ([min(behind, key=lambda j: self.lower[j, 0])] if behind else [])
        away = ((self.scaled - self.scaled[i]) ** 2).sum(axis=1)
        return sorted(others, key=lambda j: float(away[j]))[:2]
