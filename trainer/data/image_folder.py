"""A folder of images, one sub-folder for each class."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from dualsweep.trainer.data.captions import among, of_folder
from dualsweep.trainer.data.examples import Examples, Origin, from_reader
from dualsweep.trainer.data.image_listing import list_images
from dualsweep.trainer.data.paths import existing
from dualsweep.trainer.data.readers import FileReader
from dualsweep.trainer.data.scaling import scaled


def load(folder: str, size: int | None, grey: bool, captions: str | None = None) -> Examples:
    """The images of a folder, in the order of `list_images`; with `captions`, the texts of this key of its `metadata.jsonl`.

    Raises:
        BadDataError: the folder holds no images, or an image cannot be read or (without `size`) is of another size.
    """
    listing = list_images(folder)
    origin = Origin(("data", "folder"), lambda row: f"file {listing.files[row]}")
    reader = FileReader(tuple(map(str, listing.files)), size, grey)

    def read(row: int) -> torch.Tensor:
        try:
            return scaled(torch.from_numpy(reader(row)))
        except Exception as error:  # PIL raises a dozen kinds for damaged files, SyntaxError among them
            raise origin.fault(row, "must hold readable images", str(error), "fix or remove that file") from error

    labels = None if listing.labels is None else np.array(listing.labels, dtype=np.int64)
    examples = from_reader(read, len(listing.files), origin, labels, listing.class_names, in_threads=True, reader=reader)
    if captions is None:
        return examples
    texts = of_folder(existing(folder, ("data", "folder")), listing.files, captions)
    return replace(examples, captions=among(texts))
