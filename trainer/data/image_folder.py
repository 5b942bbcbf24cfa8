"""A folder of images, one sub-folder for each class."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from dualsweep.trainer.data import attributes, captions
from dualsweep.trainer.data.captions import among
from dualsweep.trainer.data.examples import Examples, Origin, from_reader
from dualsweep.trainer.data.image_listing import list_images
from dualsweep.trainer.data.paths import existing
from dualsweep.trainer.data.readers import FileReader
from dualsweep.trainer.data.scaling import scaled
from dualsweep.trainer.recipe.source_options import SourceOptions


def load(folder: str, options: SourceOptions) -> Examples:
    """The images of a folder, in the order of `list_images`, with what the options name of its `metadata.jsonl`.

    Raises:
        BadDataError: the folder holds no images, or an image cannot be read or (without `size`) is of another size.
    """
    listing = list_images(folder)
    origin = Origin(("data", "folder"), lambda row: f"file {listing.files[row]}")
    reader = FileReader(tuple(map(str, listing.files)), options.size, options.grey)

    def read(row: int) -> torch.Tensor:
        try:
            return scaled(torch.from_numpy(reader(row)))
        except Exception as error:  # PIL raises a dozen kinds for damaged files, SyntaxError among them
            raise origin.fault(row, "must hold readable images", str(error), "fix or remove that file") from error

    labels = None if listing.labels is None else np.array(listing.labels, dtype=np.int64)
    examples = from_reader(read, len(listing.files), origin, labels, listing.class_names, in_threads=True, reader=reader)
    root = existing(folder, ("data", "folder"))
    if options.captions is not None:
        examples = replace(examples, captions=among(captions.of_folder(root, listing.files, options.captions)))
    if options.attributes is not None:
        told = attributes.of_folder(root, listing.files, options.attributes)
        examples = replace(examples, attributes=attributes.tabulated(told))
    return examples
