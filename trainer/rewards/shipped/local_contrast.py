"""Local contrast: how much the luma varies within small windows, whatever it does over the whole image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from dualsweep.trainer.config.diagnostics import Diagnostic
from dualsweep.trainer.recipe.base import ClassName
from dualsweep.trainer.rewards.images import luma, root
from dualsweep.trainer.rewards.spec import RewardContext, RewardFunction, RewardSpec

if TYPE_CHECKING:
    from torch import Tensor


class LocalContrast(RewardSpec):
    """The standard deviation of the luma within a window, averaged over all windows inside the image, from 0 to 0.5."""

    word: ClassVar[str] = "local_contrast"
    differentiable: ClassVar[bool | None] = True

    window: Annotated[int, Field(ge=2)] = Field(3, description="the side of the window, in pixels", examples=["5"])

    def build(self, context: RewardContext) -> RewardFunction:
        return partial(local_contrast, window=self.window)

    def mistakes(self, shape: tuple[int, ...] | None, class_names: Sequence[ClassName] | None) -> Iterator[Diagnostic]:
        if shape is not None and len(shape) == 3 and self.window > min(shape[1:]):
            received = f"{self.window} for images of {shape[1]} x {shape[2]}"
            yield Diagnostic(("window",), "must fit into the images", received, f"write at most {min(shape[1:])}")


def local_contrast(x: Tensor, window: int) -> Tensor:
    """The mean over all windows [window, window] inside the image of the standard deviation of Y', [B]."""
    windows = luma(x).unfold(1, window, 1).unfold(2, window, 1)
    return root(windows.var(dim=(3, 4), correction=0)).mean(dim=(1, 2))
