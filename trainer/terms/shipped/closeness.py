"""Closeness to a frozen model: g = E_{x, t} w_t |prediction - its prediction|^2, x from that model ([CDM] §5)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import Field

from dualsweep.trainer.recipe.base import Count, Name, Section
from dualsweep.trainer.recipe.data import Subset
from dualsweep.trainer.recipe.term_spec import Everything, Population, SamplesOf, TermSpec

if TYPE_CHECKING:
    from torch import Tensor

    from dualsweep.trainer.models.predictor import Predictor
    from dualsweep.trainer.terms.context import TermContext
    from dualsweep.trainer.terms.losses import Noised


class ClosenessSpec(Section):
    """Mean squared distance between the predictions of the trained and of a frozen model."""

    to: Name = Field("pretrained", description="the frozen model, a name of `models`", examples=["pretrained"])
    samples: Count = Field(
        1024,
        description="samples of that model that are trained on; its final value is taken on as many others",
        examples=["2000"],
    )
    on: Subset | None = Field(None, description="data to take it on instead of samples", examples=["{all: true}"])


@dataclass(frozen=True, eq=False)
class Closeness:
    """w_t * mean over dimensions of |prediction of the frozen model - prediction|^2."""

    model: Predictor
    weight: str

    def values(self, prediction: Tensor, noised: Noised) -> Tensor:
        """Per-sample distances [B] from predictions [B, *shape]."""
        from dualsweep.trainer.terms.losses import distances

        return distances(self.model, prediction, noised, self.weight)


def _build(value: ClosenessSpec, setting: TermContext) -> Closeness:
    return Closeness(setting.frozen[value.to], setting.train.loss_weight)


def _population(value: ClosenessSpec) -> Population:
    if value.on is None:
        return SamplesOf(value.to, value.samples)
    return Everything() if value.on.all else value.on


TERM = TermSpec(
    word="closeness",
    value=ClosenessSpec,
    source="data",
    build=_build,
    description="the mean squared distance of predictions to those of a frozen model",
    example="{to: pretrained}",
    population=_population,
    models=lambda value: (value.to,),
    between=lambda value: (0.0, math.inf),
)
