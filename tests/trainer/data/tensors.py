"""Images and arrays as the trainer has them: numbers in [-1, 1]."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from PIL import Image

from dualsweep.trainer.data import pixels
from dualsweep.trainer.data.scaling import scaled


def from_image(image: Image.Image, size: int | None, grey: bool) -> torch.Tensor:
    return scaled(torch.from_numpy(pixels.from_image(image, size, grey)))


def from_array(array: NDArray[Any], size: int | None, grey: bool) -> torch.Tensor:
    return scaled(torch.from_numpy(pixels.from_array(array, size, grey)))
