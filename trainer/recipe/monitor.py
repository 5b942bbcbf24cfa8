"""What is looked at while a training goes on."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from dualsweep.trainer.config.diagnostics import RuleError
from dualsweep.trainer.recipe.base import Count, Section


class Monitor(Section):
    """What is looked at while a training goes on, with the averaged weights; nothing of the training is other for it."""

    every: Count = Field(description="primal steps between two looks", examples=["500"])
    samples: Annotated[int, Field(ge=0)] = Field(
        16, description="samples of a grid, the first of the final evaluation's, from the same noise each time; 0 for none",
        examples=["16"],
    )  # fmt: skip
    bands: Annotated[int, Field(ge=0)] = Field(
        0, description="bands of equally probable timesteps, from clean to noisy, in each of which the objective is measured on "
        "held-out data; 0 for none",
        examples=["4"],
    )  # fmt: skip
    draws: Count = Field(512, description="draws of (x, t, noise) for all bands together, the same each time", examples=["512"])

    @model_validator(mode="after")
    def _sees_something(self) -> Self:
        if not self.samples and not self.bands:
            raise RuleError("samples", "must be at least 1 where there are no bands", "0", "raise it, or write bands: 4")
        if self.draws % max(self.bands, 1):
            rule, received = "must be a multiple of bands, which are equally large", f"{self.draws} with bands {self.bands}"
            raise RuleError("draws", rule, received, f"write {-(-self.draws // self.bands) * self.bands}")
        return self
