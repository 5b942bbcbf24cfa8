"""The data, as a recipe names it: the whole set, and the subsets of constraints."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, FiniteFloat, create_model, model_validator

from dualsweep.trainer.config.diagnostics import RuleError
from dualsweep.trainer.data.registry import SOURCES
from dualsweep.trainer.data.source_spec import SourceSpec
from dualsweep.trainer.recipe.base import ClassName, Fraction, ImportPath, Section
from dualsweep.trainer.recipe.source_options import SourceOptions


class _Keys(Section):
    """The keys of all sources, of which exactly one is given."""

    @property
    def named(self) -> tuple[SourceSpec, Any]:
        """The source that is named, and its value."""
        return next((source, getattr(self, word)) for word, source in SOURCES.items() if getattr(self, word) is not None)


_Sources: type[_Keys] = create_model(
    "_Sources",
    __base__=_Keys,
    **{
        word: (source.value | None, Field(None, description=source.description, examples=[source.example]))
        for word, source in SOURCES.items()
    },
)  # type: ignore[call-overload]  # the fields are known only when the sources have been found
_LISTED = [f"`{word}`" for word in SOURCES]


class Data(SourceOptions, _Sources):
    __doc__ = (
        f"The training data, the distribution q of the objective: exactly one of {', '.join(_LISTED[:-1])} and {_LISTED[-1]}."
    )

    keep: dict[ClassName, Fraction] = Field({}, description="the share of each class that is kept", examples=["{4: 0.1}"])
    holdout: Annotated[FiniteFloat, Field(ge=0, lt=1)] = Field(
        0.0, description="the share of every class that is never trained on", examples=["0.1"]
    )
    balance: bool | Annotated[str, Field(min_length=1)] = Field(
        False,
        description="true to draw the objective's examples from every class with equal probability; or an attribute, to draw "
        "those that have it as often as those that have not",
        examples=["true"],
    )
    random_flip: bool = Field(
        False, description="true to mirror each image left to right with probability one half, in training and in final values",
        examples=["true"],
    )  # fmt: skip

    random_crop: Annotated[int, Field(ge=0)] = Field(
        0, description="pixels by which each image is shifted at most along both sides, within its own reflected border, in "
        "training and in final values",
        examples=["4"],
    )  # fmt: skip

    @model_validator(mode="after")
    def _one(self) -> Self:
        self.exactly_one(*SOURCES)
        return self

    @model_validator(mode="after")
    def _goes_with_its_source(self) -> Self:
        source, _ = self.named
        for name, field in SourceOptions.model_fields.items():
            given = getattr(self, name)
            if given != field.default and name not in source.options:
                places = " or ".join(f"`{word}`" for word, other in SOURCES.items() if name in other.options)
                raise RuleError(name, f"must go with {places}", f"{given!r}", "remove it")
        return self


def _true(value: Any) -> Any:
    if value is not None and value is not True:
        raise RuleError("", "must be true", f"{value!r}", "write `true`, or drop it")
    return value


#: A text with wildcards.
Pattern = Annotated[str, Field(min_length=1)]


class Subset(Section):
    """The data of a term, q_i: exactly one of `all`, `classes`, `captions`, `attributes`, `indices` and `call`."""

    all: Annotated[Literal[True] | None, BeforeValidator(_true)] = Field(
        None, description="true for all the training data", examples=["true"]
    )
    classes: list[ClassName] | None = Field(None, min_length=1, description="classes of the data", examples=["[4]"])
    captions: list[Pattern] | None = Field(
        None,
        min_length=1,
        description="patterns, one of which the caption must fit; `*` stands for anything, upper and lower case are the same",
        examples=['["*four*"]'],
    )
    attributes: dict[Annotated[str, Field(min_length=1)], bool] | None = Field(
        None,
        min_length=1,
        description="attributes of the data, each with true for the examples that have it or false for those that have not; all "
        "of them must hold",
        examples=["{smiling: true, male: false}"],
    )
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
        self.exactly_one("all", "classes", "captions", "attributes", "indices", "call")
        return self
