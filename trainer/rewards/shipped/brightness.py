"""Brightness: the mean luma."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from dualsweep.trainer.rewards.images import luma
from dualsweep.trainer.rewards.spec import RewardContext, RewardFunction, RewardSpec

if TYPE_CHECKING:
    from torch import Tensor


class Brightness(RewardSpec):
    """The mean luma of the image, from 0 (black) to 1 (white)."""

    word: ClassVar[str] = "brightness"
    differentiable: ClassVar[bool | None] = True
    between: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def build(self, context: RewardContext) -> RewardFunction:
        return brightness


def brightness(x: Tensor) -> Tensor:
    """The mean of Y' over the pixels, [B]."""
    return luma(x).mean(dim=(1, 2))
