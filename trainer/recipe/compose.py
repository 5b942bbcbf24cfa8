"""A model without weights of its own, composed of others."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from dualsweep.trainer.config.diagnostics import RuleError
from dualsweep.trainer.recipe.base import Name, Positive, Section


class Compose(Section):
    """A model without weights of its own: the sum of the predictions of others, weighed by the multipliers (docs/method.md)."""

    of: list[Name] = Field(
        min_length=2, description="the entries of `models`, each with one constraint to it", examples=["[apple, pear]"]
    )
    guidance: Positive | None = Field(
        None,
        description="for concept_composition: the scale s of base + s x (weighted sum - base), by which the sampler is led",
        examples=["7.5"],
    )
    base: Name | None = Field(
        None, description="the entry of `models` that guidance leads away from; each entry's own unconditional prediction "
        "unless given", examples=["anything"],
    )  # fmt: skip

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if twice := [name for position, name in enumerate(self.of) if name in self.of[:position]]:
            raise RuleError("of", "must name each model once", f"{twice[0]} twice", "leave one out")
        if self.base is not None and self.guidance is None:
            raise RuleError("base", "must go with guidance", f"{self.base} without", "write e.g. guidance: 7.5")
        return self
