"""How far samples are from their mirror images, mean over pixels of |x - mirrored x|^2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from dualsweep.trainer.recipe.base import Section
from dualsweep.trainer.recipe.term_spec import TermSpec

if TYPE_CHECKING:
    from torch import Tensor

    from dualsweep.trainer.samplers.rollout import Path


class AsymmetrySpec(Section):
    """The mean squared difference of samples to their mirror images."""

    axis: Literal["vertical", "horizontal"] = Field("vertical", description="the axis of the mirror", examples=["vertical"])


@dataclass(frozen=True)
class Asymmetry:
    """mean over pixels of |x - mirrored x|^2, differentiable in x."""

    dimension: int

    def values(self, path: Path) -> Tensor:
        """Per-sample values [B] of trajectories whose samples are [B, C, H, W]."""
        x = path.samples
        return (x - x.flip(self.dimension)).square().flatten(1).mean(1)


TERM = TermSpec(
    word="asymmetry",
    value=AsymmetrySpec,
    source="rollout",
    build=lambda value, setting: Asymmetry(-1 if value.axis == "vertical" else -2),
    description="how far samples are from their mirror images",
    example="{axis: vertical}",
)
