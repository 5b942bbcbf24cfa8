"""The data, as a recipe names it: the whole set, and the subsets of constraints."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, FiniteFloat, model_validator

from dualsweep.trainer.config.diagnostics import RuleError
from dualsweep.trainer.recipe.base import ClassName, Count, Fraction, ImportPath, Section


class Data(Section):
    """The training data, the distribution q of the objective: exactly one of `source`, `folder`, `dataset` and `call`."""

    source: Literal["digits"] | None = Field(None, description="a packaged data set", examples=["digits"])
    folder: str | None = Field(None, description="a folder of images, with one sub-folder for each class", examples=["images/"])
    dataset: str | None = Field(None, description="a Hugging Face datasets id, or a local path of one", examples=["ylecun/mnist"])
    call: ImportPath | None = Field(
        None,
        description="the import path of a function `() -> Dataset` of x or (x, label), x in [-1, 1]",
        examples=["my_data:load"],
    )
    split: str = Field("train", description="the split of `dataset`", examples=["train"])
    image_column: str = Field("image", description="the column of `dataset` that holds the image", examples=["image"])
    label_column: str | None = Field(None, description="the column of `dataset` that holds the class", examples=["label"])
    size: Count | None = Field(None, description="the side, in pixels, to which images are resized and cropped", examples=["32"])
    grey: bool = Field(False, description="true to read images as one channel", examples=["true"])
    keep: dict[ClassName, Fraction] = Field({}, description="the share of each class that is kept", examples=["{4: 0.1}"])
    holdout: Annotated[FiniteFloat, Field(ge=0, lt=1)] = Field(
        0.0, description="the share of every class that is never trained on", examples=["0.1"]
    )
    balance: bool = Field(
        False, description="true to draw the objective's examples from every class with equal probability", examples=["true"]
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        self.exactly_one("source", "folder", "dataset", "call")
        return self

    @model_validator(mode="after")
    def _goes_with_its_source(self) -> Self:
        columns, images = {"split": "train", "image_column": "image", "label_column": None}, {"size": None, "grey": False}
        for sources, defaults in ((("dataset",), columns), (("folder", "dataset"), images)):
            for name, default in defaults.items():
                given = getattr(self, name)
                if given != default and all(getattr(self, source) is None for source in sources):
                    places = " or ".join(f"`{source}`" for source in sources)
                    raise RuleError(name, f"must go with {places}", f"{given!r}", "remove it")
        return self


class Subset(Section):
    """The data of a term, q_i: exactly one of `all`, `classes`, `indices` and `call`."""

    all: Literal[True] | None = Field(None, description="true for all the training data", examples=["true"])
    classes: list[ClassName] | None = Field(None, min_length=1, description="classes of the data", examples=["[4]"])
    indices: list[Annotated[int, Field(ge=0)]] | None = Field(
        None, min_length=1, description="positions in the data set, as it is before `keep`", examples=["[0, 5, 9]"]
    )
    call: ImportPath | None = Field(
        None,
        description="the import path of a function `() -> Dataset`, or `(labels) -> mask or indices` over the data set",
        examples=["my_data:rare"],
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        self.exactly_one("all", "classes", "indices", "call")
        return self
