"""Path-wise KL to a frozen model: KL of the two sampling processes, along the trained one's trajectories ([CCA] Lemma 1)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import Field

from dualsweep.trainer.recipe.base import Name, Section
from dualsweep.trainer.recipe.term_spec import TermSpec

if TYPE_CHECKING:
    from torch import Tensor

    from dualsweep.trainer.models.predictor import Predictor
    from dualsweep.trainer.samplers.rollout import Path


class PathKLSpec(Section):
    """KL(p || q) between the sampling processes of the trained model p and of a frozen model q, in nats."""

    to: Name = Field("pretrained", description="the frozen model q, a name of `models`", examples=["pretrained"])


@dataclass(frozen=True, eq=False)
class PathKL:
    """The sum over steps of the KL of their Gaussians."""

    model: Predictor

    def values(self, path: Path) -> Tensor:
        """The KL of each step, [B, K] in nats; their sum over K is a trajectory's value."""
        return path.divergences(self.model.guided)


TERM = TermSpec(
    word="path_kl",
    value=PathKLSpec,
    source="rollout",
    build=lambda value, setting: PathKL(setting.frozen[value.to]),
    description="the path-wise KL to a frozen model, in nats",
    example="{to: pretrained}",
    models=lambda value: (value.to,),
    needs_noise=True,
    anchors=True,
    between=lambda value: (0.0, math.inf),
)
