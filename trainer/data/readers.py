"""What reads one image of a data set by its number, here or in a process that reads ahead: plain data, without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dualsweep.trainer.data.pixels import from_array, from_image


class Reader(Protocol):
    """Reads one example [*shape] by its row; pickled, it does so in another process."""

    def __call__(self, row: int) -> Any:
        """An array, or what numpy takes for one: pixels 0..255 as uint8, or float32."""
        ...


@dataclass(frozen=True)
class FileReader:
    """Image files, by their paths."""

    files: tuple[str, ...]
    size: int | None
    grey: bool

    def __call__(self, row: int) -> NDArray[np.uint8]:
        with Image.open(self.files[row]) as image:
            return from_image(image, self.size, self.grey)


@dataclass(frozen=True)
class ColumnReader:
    """One column of a Hugging Face data set, of images or of arrays."""

    dataset: Any
    column: str
    size: int | None
    grey: bool

    def __call__(self, row: int) -> NDArray[Any]:
        value = self.dataset[row][self.column]
        if isinstance(value, Image.Image):
            return from_image(value, self.size, self.grey)
        return from_array(np.asarray(value), self.size, self.grey)
