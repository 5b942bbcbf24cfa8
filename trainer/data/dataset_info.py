"""What is known of a recipe's data before any of it is read. Plain Python: the checks use it."""

from __future__ import annotations

from dataclasses import dataclass

from dualsweep.trainer.recipe.base import ClassName


@dataclass(frozen=True)
class DatasetInfo:
    """Facts of a data set; None is not known yet.

    labelled     whether it has labels
    class_names  its classes, () without labels
    counts       examples of each class
    total        examples in all
    shape        of an example; of an image (channels, side, side)
    empty        sub-folders that are no class, having no images
    """

    labelled: bool | None = None
    class_names: tuple[ClassName, ...] | None = None
    counts: tuple[int, ...] | None = None
    total: int | None = None
    shape: tuple[int, ...] | None = None
    empty: tuple[str, ...] = ()


def image_shape(size: int | None, grey: bool) -> tuple[int, ...] | None:
    """The shape of images that are resized to `size` pixels a side; None where they keep their own."""
    return None if size is None else (1 if grey else 3, size, size)
