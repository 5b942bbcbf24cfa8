"""A share of samples, as a recipe names it: of which class, among which samples, by which judge."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, FiniteFloat

from dualsweep.trainer.recipe.base import ClassName, ImportPath, Section

#: What tells two judges of shares apart: the judge, its classes, and by what its errors are known.
JudgedBy = tuple[str | None, tuple[ClassName, ...] | None, str | None, float]


class Share(Section):
    """The share of a class in the model's samples, from 0 to 1, with the judge's own errors taken out."""

    of: ClassName = Field(
        description="the class, of those that the judge tells apart, or an attribute of the data", examples=["4"]
    )
    among: list[ClassName] | None = Field(
        None,
        min_length=1,
        description="prompts or classes of the model, among whose samples the share is taken; `*` stands for anything, upper and "
        "lower case are the same; all samples unless given",
        examples=['["a photo of a doctor"]'],
    )
    judge: ImportPath | None = Field(
        None,
        description="the import path of a function `() -> judge`, an object with probabilities(x), or a torch module of logits; "
        "`evaluation.judge` unless given",
        examples=["my_judges:gender"],
    )
    classes: list[ClassName] | None = Field(
        None, min_length=2, description="your judge's classes, in its order; those of the labelled images unless given",
        examples=["[female, male]"],
    )  # fmt: skip
    calibration: ImportPath | None = Field(
        None,
        description="the import path of a function `() -> Dataset` of labelled images that your judge has not seen, by which its "
        "errors are known; the recipe's data unless given",
        examples=["my_data:faces"],
    )
    held_out: Annotated[FiniteFloat, Field(gt=0, lt=1)] = Field(
        0.2,
        description="of a judge that is trained on the recipe's data, the share of each class that it is not shown, by which its "
        "errors are known",
        examples=["0.2"],
    )

    @property
    def judged_by(self) -> JudgedBy:
        """By which judge: shares of equal ones are judged together."""
        return self.judge, tuple(self.classes) if self.classes else None, self.calibration, self.held_out
