"""How data are read from their source."""

from __future__ import annotations

from pydantic import Field

from dualsweep.trainer.recipe.base import Count, Section


class SourceOptions(Section):
    """Keys of `data` beside its source, each of which goes with some sources (`SourceSpec.options`)."""

    split: str = Field("train", description="the split of `dataset`", examples=["train"])
    image_column: str = Field("image", description="the column of `dataset` that holds the image", examples=["image"])
    label_column: str | None = Field(None, description="the column of `dataset` that holds the class", examples=["label"])
    captions: str | None = Field(
        None,
        description="what holds a text for every example: a column of `dataset`, or a key in the lines of a `folder`'s "
        "`metadata.jsonl`",
        examples=["text"],
    )
    size: Count | None = Field(None, description="the side, in pixels, to which images are resized and cropped", examples=["32"])
    grey: bool = Field(False, description="true to read images as one channel", examples=["true"])

    @property
    def columns(self) -> dict[str, str | None]:
        """The keys that name columns of a data set, and the columns."""
        return {"image_column": self.image_column, "label_column": self.label_column, "captions": self.captions}
