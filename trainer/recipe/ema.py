"""The moving average of the weights, where more is asked of it than one decay."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import ConfigDict, Field, FiniteFloat, model_validator

from dualsweep.trainer.config.diagnostics import RuleError
from dualsweep.trainer.recipe.base import Positive, Section

Decay = Annotated[FiniteFloat, Field(ge=0, lt=1)]


class Ema(Section):
    """An average of another form: exactly one of `decay` and `sigma_rel`."""

    # So that editors refuse an empty one: beside a plain number, that it has neither is a fault of the key itself.
    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    decay: Decay | None = Field(None, description="the decay, which `rampup` holds back at first", examples=["0.9999"])
    rampup: Positive | None = Field(
        None, description="for decay: its half-life is at most this share of the updates so far (Karras et al. 2022, arXiv "
        "2206.00364); without it the decay is at most (1 + n) / (10 + n) after n updates",
        examples=["0.05"],
    )  # fmt: skip
    sigma_rel: Annotated[FiniteFloat, Field(gt=0, le=0.28)] | None = Field(
        None, description="a power function of the updates in place of a decay (EDM2, Karras et al. 2024, arXiv 2312.02696): the "
        "standard deviation of the weights' ages, as a share of the run so far",
        examples=["0.1"],
    )  # fmt: skip

    @model_validator(mode="after")
    def _one(self) -> Self:
        self.exactly_one("decay", "sigma_rel")
        if self.rampup is not None and self.decay is None:
            raise RuleError("rampup", "must go with decay", f"{self.rampup:g} with sigma_rel", "drop it")
        return self
