"""Everything that trials say of the front at given budgets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dualsweep.analysis.certified.axes import Box
from dualsweep.analysis.certified.band import Band, band
from dualsweep.analysis.certified.observations import Observations, Vector
from dualsweep.analysis.certified.surrogate import Surrogate


@dataclass(frozen=True)
class Reading:
    """What the trials say at N budgets: the front's band, the front [N] predicted within it, and its prices [N, m]."""

    band: Band
    front: Vector
    prices: Vector


def read(trials: Observations, box: Box, at: Vector, z: float, ideal: float) -> Reading:
    """Reads the front at budgets `at` [N, m] from at least one trial."""
    sides = band(trials, at, z, ideal)
    front, prices = Surrogate.of(trials, box).predict(at)
    return Reading(sides, np.clip(front, sides.lower, sides.upper), prices)
