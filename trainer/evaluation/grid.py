"""Samples as pictures: a grid of them, or each as a PNG of its own."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from dualsweep.trainer.storage import write_file

READABLE = 48  # pixels of the shorter side of an image in a grid
GAP = 2
GAP_GREY = 128  # tells a black and a white image's edge alike

Pixels = NDArray[np.uint8]


def sample_grid(samples: torch.Tensor, columns: int | None = None) -> bytes:
    """A PNG of samples [N, C, H, W] in [-1, 1], row by row, enlarged by nearest neighbour to at least 48 pixels a side.

    One or two channels give a grey picture of the first, more the first three as RGB. `columns` is near the root of N
    unless given.

    Raises:
        ValueError: samples that are not images, or none of them.
    """
    if samples.ndim != 4 or not samples.numel():
        raise ValueError(f"a grid needs at least one image, [N, C, H, W], but got shape {list(samples.shape)}")
    pixels = _pixels(samples)
    factor = max(1, math.ceil(READABLE / min(pixels.shape[1:3])))
    pixels = pixels.repeat(factor, axis=1).repeat(factor, axis=2)
    count, height, width, channels = pixels.shape
    columns = min(count, columns or math.ceil(math.sqrt(count)))
    rows = math.ceil(count / columns)
    canvas = np.full((rows * (height + GAP) + GAP, columns * (width + GAP) + GAP, channels), GAP_GREY, dtype=np.uint8)
    for position, image in enumerate(pixels):
        top, left = (GAP + side * (length + GAP) for side, length in zip(divmod(position, columns), (height, width), strict=True))
        canvas[top : top + height, left : left + width] = image
    return _png(canvas)


def save_png(image: torch.Tensor, path: Path) -> None:
    """Writes one image [C, H, W] in [-1, 1] as it is, a pixel a pixel.

    Raises:
        ValueError: not an image.
    """
    if image.ndim != 3 or not image.numel():
        raise ValueError(f"a PNG needs an image, [C, H, W], but got shape {list(image.shape)}")
    write_file(path, _png(_pixels(image[None])[0]))


def _pixels(images: torch.Tensor) -> Pixels:
    """Bytes [N, H, W, 1 or 3] of images [N, C, H, W]: -1 is 0, 1 is 255, anything beyond is cut off, NaN is black."""
    shown = images[:, : 3 if images.shape[1] >= 3 else 1].detach().cpu().float().nan_to_num(nan=-1.0)
    scaled = ((shown.clamp(-1.0, 1.0) + 1.0) * 127.5).round().to(torch.uint8)
    pixels: Pixels = scaled.permute(0, 2, 3, 1).numpy()
    return pixels


def _png(pixels: Pixels) -> bytes:
    """A PNG of pixels [H, W, 1 or 3]."""
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
