"""The recipe: one constrained training as a user writes it. Strict, typed, checked before anything heavy is imported.

Each part owns its section (`trainer/schema/`); the text under a field is what errors and the guide show.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, model_validator

from trainer.schema.base import ClassName, ImportPath, Name, Section
from trainer.schema.bound import Bound, check_bounds
from trainer.schema.data import Data, Subset
from trainer.schema.dual import Dual
from trainer.schema.evaluation import Evaluation, Judge
from trainer.schema.model import Model, Schedule, UNet
from trainer.schema.run import Checkpoint, Resources
from trainer.schema.train import Train

__all__ = [
    "Checkpoint", "ClassName", "Constraint", "Data", "Dual", "Evaluation", "ImportPath", "Judge", "Model", "Name", "Recipe",
    "Resources", "Schedule", "Section", "Subset", "Train", "UNet", "flatten",
]  # fmt: skip


class Constraint(Bound):
    """One requirement on an expectation g_i: `at_most`, `at_least` or `equals` (docs/method.md)."""

    name: Name = Field(description="a name of letters, digits, `_` and `-`", examples=["four"])
    data: Subset = Field(description="the data whose expected loss is bounded", examples=["{classes: [4]}"])

    @model_validator(mode="after")
    def _free_name(self) -> Self:
        if self.name == "max":
            raise ValueError(
                "`name` must not be a reserved word, but got 'max'; `value/max` is the largest value: write another name"
            )
        return self


class Recipe(Section):
    """One constrained training."""

    name: Name = Field(description="a name of letters, digits, `_` and `-`", examples=["digits-minority"])
    formulation: Literal["constrained_training"] = Field(description="the formulation", examples=["constrained_training"])
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(0, description="the seed of every random draw", examples=["0"])
    model: Model = Field(description="the model", examples=["{unet: {channels: [16, 32]}}"])
    schedule: Schedule | None = Field(None, description="the noise schedule", examples=["{timesteps: 200}"])
    data: Data = Field(description="the training data", examples=["{source: digits}"])
    constraints: list[Constraint] = Field([], description="the constraints", examples=["[{name: four, data: …, at_most: 0.12}]"])
    dual: Dual = Field(Dual(), description="how the multipliers move", examples=["{step_size: 0.03}"])
    train: Train = Field(description="the primal", examples=["{steps: 1500}"])
    evaluation: Evaluation = Field(Evaluation(), description="what is measured at the end", examples=["{samples: 1000}"])
    resources: Resources = Field(Resources(), description="what one trial takes", examples=["{workers: 1}"])
    checkpoint: Checkpoint = Field(Checkpoint(), description="when a run is saved", examples=["{every: 500}"])

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [constraint.name for constraint in self.constraints]
        for position, name in enumerate(names):
            if name in names[:position]:
                raise ValueError(f"`constraints.{position}.name` must be unique, but got '{name}' twice; rename one")
        check_bounds({constraint.name: constraint for constraint in self.constraints}, self.dual)
        self._batch_and_steps_fit(len(names))
        return self

    def _batch_and_steps_fit(self, constraints: int) -> None:
        needed = 1 + constraints * self.train.floor
        if self.train.batches == "mixture" and self.train.batch_size < needed:
            raise ValueError(
                f"`train.batch_size` must be at least 1 + constraints x floor = {needed}, but got {self.train.batch_size}; "
                "enlarge the batch, or lower train.floor"
            )
        if self.train.steps % self.dual.every:
            raise ValueError(
                f"`train.steps` must be a multiple of dual.every, but got {self.train.steps} with every {self.dual.every}; "
                f"write {-(-self.train.steps // self.dual.every) * self.dual.every}"
            )
        if self.train.batch_size < self.resources.workers:
            raise ValueError(
                f"`train.batch_size` must be at least one sample for each worker, but got {self.train.batch_size} for "
                f"{self.resources.workers} workers; enlarge the batch"
            )


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """A recipe (or a part of one) as dotted keys; constraints by their names: `constraints.four.at_most`."""
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
