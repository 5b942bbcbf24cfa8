"""Contrast of the whole image: the standard deviation of the luma."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from dualsweep.trainer.rewards.images import luma, root
from dualsweep.trainer.rewards.spec import RewardContext, RewardFunction, RewardSpec

if TYPE_CHECKING:
    from torch import Tensor


class Contrast(RewardSpec):
    """The standard deviation of the luma over the image, from 0 to 0.5."""

    word: ClassVar[str] = "contrast"
    differentiable: ClassVar[bool | None] = True

    def build(self, context: RewardContext) -> RewardFunction:
        return contrast


def contrast(x: Tensor) -> Tensor:
    """The root mean square contrast (Peli, "Contrast in complex images", 1990), [B]."""
    return root(luma(x).var(dim=(1, 2), correction=0))
