"""Colourfulness as people judge it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from dualsweep.trainer.rewards.images import root, unit
from dualsweep.trainer.rewards.spec import RewardContext, RewardFunction, RewardSpec

if TYPE_CHECKING:
    from torch import Tensor


class Colourfulness(RewardSpec):
    """The colourfulness M of Hasler & Süsstrunk, on their scale: 0 not, 33 moderately, 59 quite, 109 extremely colourful."""

    word: ClassVar[str] = "colourfulness"
    differentiable: ClassVar[bool | None] = True
    channels: ClassVar[tuple[int, ...] | None] = (3,)

    def build(self, context: RewardContext) -> RewardFunction:
        return colourfulness


def colourfulness(x: Tensor) -> Tensor:
    """M = spread + 0.3 distance (Hasler & Süsstrunk, "Measuring colourfulness in natural images", 2003), [B].

    With the opponents rg = R - G and yb = (R + G) / 2 - B of channels in 0..255, the spread is the root of the sum of their
    variances over the pixels, the distance (from grey) that of the squares of their means.
    """
    red, green, blue = (255 * unit(x)).flatten(2).unbind(dim=1)
    rg, yb = red - green, (red + green) / 2 - blue
    spread = root(rg.var(dim=1, correction=0) + yb.var(dim=1, correction=0))
    distance = root(rg.mean(dim=1).square() + yb.mean(dim=1).square())
    return spread + 0.3 * distance
