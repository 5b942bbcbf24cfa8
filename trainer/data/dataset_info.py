"""What is known of a recipe's data: by the names of files, by a look at some examples, or once all of them are loaded.

Plain Python: the checks use it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dualsweep.trainer.recipe.base import ClassName


@dataclass(frozen=True)
class Look:
    """What some examples of a data set are like, as they are trained on.

    shape      of one; of an image (channels, height, width)
    of         how many were looked at
    low, high  the least and the largest of their numbers; None where none was read
    grey       whether they are grey images that became RGB
    read       those of them whose numbers were read
    constant   those of `read` that hold one number alone
    """

    shape: tuple[int, ...]
    of: int
    low: float | None = None
    high: float | None = None
    grey: bool = False
    read: int = 0
    constant: int = 0


@dataclass(frozen=True)
class DatasetInfo:
    """Facts of a data set; None is not known yet.

    labelled     whether it has labels
    class_names  its classes, () without labels
    counts       examples of each class
    total        examples in all
    shape        of an example; of an image (channels, side, side)
    empty        sub-folders that are no class, having no images
    look         what some of the examples are like
    captions     the text of each example, where the recipe asks for them
    attributes   how many examples have each, where the recipe asks for them
    """

    labelled: bool | None = None
    class_names: tuple[ClassName, ...] | None = None
    counts: tuple[int, ...] | None = None
    total: int | None = None
    shape: tuple[int, ...] | None = None
    empty: tuple[str, ...] = ()
    look: Look | None = None
    captions: Sequence[str] | None = None
    attributes: Mapping[str, int] | None = None


def image_shape(size: int | None, grey: bool) -> tuple[int, ...] | None:
    """The shape of images that are resized to `size` pixels a side; None where they keep their own."""
    return None if size is None else (1 if grey else 3, size, size)


def spread_out(count: int, most: int) -> list[int]:
    """At most `most` of the numbers 0..count-1, the first among them, evenly spread."""
    return list(range(count)) if count <= most else [at * count // most for at in range(most)]
