"""How the product of frozen models is sampled: annealed Langevin on their weighted score ([CCA] Alg. 2)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from dualsweep.trainer.recipe.base import Count, Positive, Section


class Product(Section):
    """Samples of p* ∝ Π q_i^λ_i for the present multipliers, to which the model is fitted."""

    samples: Annotated[int, Field(ge=2)] = Field(  # a slack's error is their spread
        512, description="samples drawn for each version of the multipliers", examples=["512"]
    )
    levels: Count = Field(20, description="noise levels, from pure noise to clean", examples=["20"])
    steps: Count = Field(10, description="Langevin steps at each level", examples=["10"])
    snr: Positive = Field(
        0.16, description="size of a step: the ratio r of Song et al. 2021 (arXiv 2011.13456), Alg. 4", examples=["0.16"]
    )
