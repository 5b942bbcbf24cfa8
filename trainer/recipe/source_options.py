"""How data are read from their source."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from dualsweep.trainer.recipe.base import Count, Section, Text


class SourceOptions(Section):
    """Keys of `data` beside its source, each of which goes with some sources (`SourceSpec.options`)."""

    split: str = Field("train", description="the split of `dataset`", examples=["train"])
    image_column: Text = Field("image", description="the column of `dataset` that holds the image", examples=["image"])
    label_column: Text | None = Field(None, description="the column of `dataset` that holds the class", examples=["label"])
    captions: Text | None = Field(
        None,
        description="what holds a text for every example: a column of `dataset`, or a key in the lines of a `folder`'s "
        "`metadata.jsonl`",
        examples=["text"],
    )
    attributes: Text | Annotated[list[Text], Field(min_length=1)] | None = Field(
        None,
        description="what holds the attributes of every example: one column of `dataset`, or key in the lines of a `folder`'s "
        "`metadata.jsonl`, with a list of names; or a list of columns or keys of 0 and 1, true and false, -1 and 1, or words, of "
        "which each word is an attribute, `hair=black`",
        examples=["[male, smiling, hair]"],
    )
    size: Count | None = Field(None, description="the side, in pixels, to which images are resized and cropped", examples=["32"])
    grey: bool = Field(False, description="true to read images as one channel", examples=["true"])

    @property
    def columns(self) -> list[tuple[str, str]]:
        """The keys that name columns of a data set, and the columns."""
        attributes = [self.attributes] if isinstance(self.attributes, str) else self.attributes or []
        named = [("image_column", self.image_column), ("label_column", self.label_column), ("captions", self.captions)]
        return [(key, column) for key, column in named if column is not None] + [("attributes", each) for each in attributes]
