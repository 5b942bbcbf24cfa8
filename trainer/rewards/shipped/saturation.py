"""Saturation: the S of HSV, made smooth at black."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from dualsweep.trainer.rewards.images import unit
from dualsweep.trainer.rewards.spec import RewardContext, RewardFunction, RewardSpec

if TYPE_CHECKING:
    from torch import Tensor

BLACK = 1 / 255
"""One step of an 8-bit image: below it the colour of a pixel means nothing."""


class Saturation(RewardSpec):
    """The mean HSV saturation over the pixels, from 0 (grey) to 1 (pure colours)."""

    word: ClassVar[str] = "saturation"
    differentiable: ClassVar[bool | None] = True
    channels: ClassVar[tuple[int, ...] | None] = (3,)

    def build(self, context: RewardContext) -> RewardFunction:
        return saturation


def saturation(x: Tensor) -> Tensor:
    """The mean of (max - min) max / (max² + ε²) over the pixels, [B].

    That is HSV's (max - min) / max with a relative error of (ε / max)², and 0 at black with a bounded gradient, where HSV's
    own has no limit.
    """
    colour = unit(x)
    largest, smallest = colour.amax(dim=1), colour.amin(dim=1)
    return ((largest - smallest) * largest / (largest.square() + BLACK**2)).mean(dim=(1, 2))
