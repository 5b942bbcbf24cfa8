"""What is known of a recipe's data before any of it is read. Plain Python: the checks use it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dualsweep.trainer.config.diagnostics import Diagnostic
from dualsweep.trainer.config.yaml_file import nearest
from dualsweep.trainer.data.faults import BadDataError
from dualsweep.trainer.data.image_listing import list_images
from dualsweep.trainer.data.saved_dataset import describe, is_saved, local
from dualsweep.trainer.recipe.base import ClassName
from dualsweep.trainer.recipe.data import Data

DIGITS_COUNTS = (178, 182, 177, 183, 181, 182, 181, 179, 174, 180)
"""Of each of scikit-learn's digits 0..9 (a test compares them)."""

DIGITS_SIDE = 8

_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")


@dataclass(frozen=True)
class DatasetInfo:
    """Facts of a data set; None is not known yet.

    labelled     whether it has labels
    class_names  its classes, () without labels
    counts       examples of each class
    total        examples in all
    side         of the square images, in pixels
    empty        sub-folders that are no class, having no images
    """

    labelled: bool | None = None
    class_names: tuple[ClassName, ...] | None = None
    counts: tuple[int, ...] | None = None
    total: int | None = None
    side: int | None = None
    empty: tuple[str, ...] = ()


def inspect(data: Data) -> DatasetInfo:
    """What the names of files and the small files beside the data tell.

    Raises:
        BadDataError: the data is not there, or lacks what the recipe asks of it.
    """
    if data.folder is not None:
        return _folder(data.folder, data.size)
    if data.dataset is not None:
        return _dataset(data)
    if data.call is not None:
        return DatasetInfo()
    return DatasetInfo(True, tuple(range(10)), DIGITS_COUNTS, sum(DIGITS_COUNTS), DIGITS_SIDE)


def _folder(folder: str, size: int | None) -> DatasetInfo:
    listing = list_images(folder)
    if listing.labels is None:
        return DatasetInfo(False, (), total=len(listing.files), side=size)
    counts = [0] * len(listing.class_names)
    for label in listing.labels:
        counts[label] += 1
    return DatasetInfo(True, listing.class_names, tuple(counts), len(listing.files), size, listing.without_images)


def _dataset(data: Data) -> DatasetInfo:
    labelled = data.label_column is not None
    unknown = DatasetInfo(labelled, None if labelled else (), side=data.size)
    path = local(str(data.dataset))
    if path is None:
        if not _HUB_ID.fullmatch(str(data.dataset)):
            remedy = "write e.g. `ylecun/mnist`, or the path of a directory"
            raise BadDataError(
                Diagnostic(("data", "dataset"), "must be a hub id or a local path that exists", f"'{data.dataset}'", remedy)
            )
        return unknown
    if not is_saved(path):
        return unknown
    saved = describe(path, data.split)
    faults = [
        Diagnostic(("data", key), "must be a column of the data set", f"'{column}'", nearest(column, saved.columns))
        for key, column in (("image_column", data.image_column), ("label_column", data.label_column))
        if column is not None and saved.columns and column not in saved.columns
    ]
    if faults:
        raise BadDataError(*faults)
    names = saved.class_names.get(str(data.label_column)) if labelled else ()
    return DatasetInfo(labelled, names, side=data.size)
