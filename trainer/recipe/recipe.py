"""The recipe: one constrained training as a user writes it. Strict, typed, checked before anything heavy is imported."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ValidationInfo, model_validator

from dualsweep.trainer.config import yaml_core
from dualsweep.trainer.recipe.consistency.check import check_fit
from dualsweep.trainer.recipe.fields import RecipeFields
from dualsweep.trainer.recipe.own_part import STORED, TRUSTED, is_stored
from dualsweep.trainer.rewards.registry import Reward


class Recipe(RecipeFields):
    """One constrained training."""

    @model_validator(mode="after")
    def _parts_fit(self, info: ValidationInfo) -> Self:
        check_fit(self, stored=is_stored(info))
        return self

    @classmethod
    def stored(cls, text: str, trusted: bool = False) -> Self:
        """The recipe that a run has stored as YAML; what is refused only since that run is read as it is.

        No code that it names is imported, unless it is `trusted`.
        """
        return cls.model_validate(yaml_core.read(text), context={STORED: True, TRUSTED: trusted})


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """A recipe (or a part of one) as dotted keys; constraints by their names: `constraints.four.at_most`."""
    if isinstance(value, Reward):
        value = value.model_dump(mode="json")  # the one that is named, not every word there is
    if isinstance(value, BaseModel):
        value = {name: getattr(value, name) for name in type(value).model_fields}
    if isinstance(value, list) and value and all(isinstance(each, BaseModel) and hasattr(each, "name") for each in value):
        value = {each.name: each for each in value}
    if isinstance(value, dict) and value:
        flat: dict[str, Any] = {}
        for key, below in value.items():
            flat.update(flatten(below, f"{prefix}.{key}" if prefix else str(key)))
        return flat
    return {prefix: value}
