"""A folder of images, one sub-folder for each class."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from dualsweep.trainer.data import attributes, captions
from dualsweep.trainer.data.dataset_info import DatasetInfo
from dualsweep.trainer.data.image_listing import list_images, passed_over
from dualsweep.trainer.data.looking import Item, look
from dualsweep.trainer.data.paths import existing
from dualsweep.trainer.data.source_spec import SourceSpec
from dualsweep.trainer.recipe.base import Text
from dualsweep.trainer.recipe.source_options import SourceOptions

if TYPE_CHECKING:
    from dualsweep.trainer.data.examples import Examples


def _inspect(folder: str, options: SourceOptions) -> DatasetInfo:
    listing = list_images(folder)
    root = existing(folder, ("data", "folder"))
    texts = captions.of_folder(root, listing.files, options.captions) if options.captions else None
    told = attributes.of_folder(root, listing.files, options.attributes) if options.attributes else None
    having = None if told is None else attributes.counted(told)
    items = [Item(f"file {file}", ("data", "folder"), partial(Path, file)) for file in listing.files]
    seen = look(items, options.size, options.grey)
    if listing.labels is None:
        return DatasetInfo(False, (), total=len(listing.files), shape=seen.shape, look=seen, captions=texts, attributes=having)
    counts = [0] * len(listing.class_names)
    for label in listing.labels:
        counts[label] += 1
    return DatasetInfo(
        True, listing.class_names, tuple(counts), len(listing.files), seen.shape, listing.without_images, seen, texts, having
    )  # fmt: skip


def _load(folder: str, options: SourceOptions) -> Examples:
    from dualsweep.trainer.data import image_folder

    return image_folder.load(folder, options)


SOURCE = SourceSpec(
    word="folder",
    value=Text,
    inspect=_inspect,
    load=_load,
    description="a folder of images, with one sub-folder for each class",
    example="images/",
    options=("captions", "attributes", "size", "grey"),
    passed_over=passed_over,
)
