"""Pixels as numbers in [-1, 1]."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray


def scaled(pixels: torch.Tensor) -> torch.Tensor:
    """Pixels 0..255 of any shape as contiguous float32 in [-1, 1], the same to the bit on every device.

    Other numbers stay as they are.
    """
    if pixels.dtype != torch.uint8:
        return pixels
    # By a tensor, as CUDA would multiply by the reciprocal of a number, which rounds differently.
    half = torch.full((), 127.5, device=pixels.device)
    return pixels.to(torch.float32, memory_format=torch.contiguous_format).div_(half).sub_(1)


def scale_into(numbers: NDArray[np.float32], pixels: NDArray[Any]) -> None:
    """Writes what `scaled` gives for an array of the same shape, in the calling thread alone."""
    if pixels.dtype != np.uint8:
        numbers[...] = pixels
        return
    np.divide(pixels, np.float32(127.5), out=numbers, dtype=np.float32)
    np.subtract(numbers, np.float32(1), out=numbers)
