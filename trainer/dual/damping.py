"""How far second-order steps are trusted: full steps while they bring progress, ever smaller ones about the solution.

A full Newton step repeats the noise of one dual step's slacks in the multipliers for ever, and overshoots where the primal
lags behind the multipliers it is given. Both show as a residual that changes sign, so each multiplier's step is weighed by
1 / (1 + k) with k raised at such changes only: Kesten's rule (Kesten 1958, Ann. Math. Stat. 29; Delyon & Juditsky 1993, SIAM J.
Optim. 3). Within the noise k grows by one, which averages the iterates; an overshoot beyond the noise doubles it, which
outlasts a lag quickly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dualsweep.trainer.dual.problem import Booleans, Vector

#: A residual within this many standard errors is noise.
NOISE = 2.0
#: An overshoot that leaves less than this share of the residual is progress all the same.
PROGRESS = 0.5
#: After so many significant residuals of one sign in a row the step is too small, and grows again by `RECOVERY` a step. Each
#: overshoot doubles that number: a slow oscillation must not pass for drift for ever.
RUN, RECOVERY = 12, 0.9


@dataclass(frozen=True)
class Damping:
    """Each multiplier's last residual, its k, its run of significant residuals of one sign, and its overshoots, all [m]."""

    residual: Vector
    k: Vector
    run: Vector
    overshoots: Vector

    ROWS = 4

    @classmethod
    def unpack(cls, memory: Vector) -> Damping:
        return cls(*memory[: cls.ROWS])

    def pack(self) -> Vector:
        return np.stack([self.residual, self.k, self.run, self.overshoots])

    @property
    def weights(self) -> Vector:
        """The share of the full step that each multiplier takes, in (0, 1], shape [m]."""
        result: Vector = 1.0 / (1.0 + self.k)
        return result

    def overshot(self, residual: Vector, errors: Vector) -> Booleans:
        """Which residuals [m] changed sign beyond the noise without progress: the last step was too long."""
        beyond = np.minimum(np.abs(residual), np.abs(self.residual)) > NOISE * errors
        result: Booleans = (residual * self.residual < 0) & beyond & (np.abs(residual) > PROGRESS * np.abs(self.residual))
        return result

    def see(self, residual: Vector, errors: Vector, explained: Booleans | None = None) -> Damping:
        """After `residual` [m] with standard errors `errors` [m]; 0 where there is nothing to gain, as at an inactive bound.

        `explained` overshoots have taught a better Hessian already and count for nothing here.
        """
        overshot = self.overshot(residual, errors) & ~(np.zeros_like(residual, dtype=bool) if explained is None else explained)
        turned, idle = residual * self.residual < 0, residual == 0
        significant = np.abs(residual) > NOISE * errors
        k = np.where(overshot, 2.0 * self.k + 1.0, np.where(turned & ~significant, self.k + 1.0, self.k))
        run = np.where(significant & ~turned & ~idle, self.run + 1.0, 0.0)
        overshoots = self.overshoots + overshot
        k = np.where(run > RUN * 2.0**overshoots, RECOVERY * k, k)
        if idle.any() and not idle.all():
            k = np.where(idle, np.maximum(k, k[~idle].mean()), k)  # when noise wakes it, it is to move no faster than the rest
        return Damping(np.where(idle, self.residual, residual), k, run, overshoots)
