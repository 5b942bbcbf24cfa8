"""The denoising loss on samples of a frozen model: E_{x ~ q_i} l, for the mixture of models ([CCA] App. E)."""

from __future__ import annotations

import math

from pydantic import Field

from dualsweep.trainer.recipe.base import Count, Name, Section
from dualsweep.trainer.recipe.term_spec import SamplesOf, TermSpec
from dualsweep.trainer.terms.shipped.denoising import Denoising


class SamplesSpec(Section):
    """Samples of a frozen model, drawn once."""

    of: Name = Field(description="the frozen model, a name of `models`", examples=["left"])
    count: Count = Field(
        2048, description="samples that are trained on; the final value is taken on as many others", examples=["2048"]
    )


TERM = TermSpec(
    word="samples",
    value=SamplesSpec,
    source="data",
    build=lambda value, setting: Denoising(setting.train.loss_weight),
    description="samples of a frozen model, whose expected denoising loss this is",
    example="{of: left}",
    population=lambda value: SamplesOf(value.of, value.count),
    models=lambda value: (value.of,),
    between=lambda value: (0.0, math.inf),
)
