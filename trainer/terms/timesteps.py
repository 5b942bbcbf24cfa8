"""How the timesteps of noised examples are drawn: evenly, or, for the losses of EDM, by a lognormal sigma."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from diffusers import DDPMScheduler
from numpy.typing import NDArray

from dualsweep.trainer.dual.problem import Vector
from dualsweep.trainer.models.edm import keys_of, lognormal
from dualsweep.trainer.recipe.model import EDM


@dataclass(frozen=True, eq=False)
class Timesteps:
    """The law of a timestep in 0..total - 1; `probabilities` [total] where it is not even."""

    total: int
    probabilities: Vector | None = None

    def at(self, places: NDArray[np.floating], count: NDArray[np.integer] | int = 1) -> NDArray[np.int64]:
        """The timesteps [n] at these places [n] of [0, count): equal stretches of places are equally probable."""
        if self.probabilities is None:
            return np.minimum(places * self.total / count, self.total - 1).astype(np.int64)
        upto = np.cumsum(self.probabilities)[:-1]
        found: NDArray[np.int64] = np.searchsorted(upto, places / count, side="right").astype(np.int64)
        return found


def of_weight(schedule: DDPMScheduler, weight: str) -> Timesteps:
    """The law by which the timesteps of losses of this `weight` are drawn; `trainer/terms/losses.py` has weights that go with it.

    `edm`, and `simple` under a schedule of EDM: ln sigma ~ N(p_mean, p_std^2), with the paper's numbers where it has none.
    """
    total, keys = schedule.config.num_train_timesteps, keys_of(schedule)
    if weight != "edm" and (weight != "simple" or keys is None):
        return Timesteps(total)
    keys = keys or EDM
    return Timesteps(total, lognormal(schedule, keys["p_mean"], keys["p_std"]).numpy())
