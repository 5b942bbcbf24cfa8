"""The error of a scale of rewards: means and deviations are those of so many samples, and later values are measured by them."""

from __future__ import annotations

from dataclasses import dataclass

from dualsweep.trainer.evaluation.drawn import JointDraws
from dualsweep.trainer.evaluation.spread import Integers, MeanSpread, Vector, collapsed, evened, mean_spread


@dataclass(frozen=True)
class Scale:
    """Standardised values z [N, k] of k rewards on the samples that their means and deviations were taken from.

    groups  [N] the prompts of the samples, None for one
    """

    columns: tuple[int, ...]
    z: Vector
    groups: Integers | None = None
    identity: str = ""

    def spread(self, rows: Vector, draws: JointDraws) -> MeanSpread:
        """What the scale's own error adds to combinations `rows` [q, k] of the rewards, whose means are those of `draws`.

        (r - mean) / std has the error -(z + r (z^2 - 1) / 2) / N of each sample of the scale (the delta method).
        """
        means = draws.means(self.columns)
        told = -(self.z + means * (self.z**2 - 1.0) / 2.0)
        if (weights := evened(self.groups)) is not None:
            told = weights[:, None] * told
        strata = None if self.groups is None else collapsed(self.groups, None)
        return mean_spread(told @ rows.T, (len(told),), False, None, strata)
