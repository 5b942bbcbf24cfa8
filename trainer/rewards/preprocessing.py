"""From images in [-1, 1] to the pixels a vision model takes, in torch, so that gradients flow through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from dualsweep.trainer.rewards.images import unit
from dualsweep.trainer.transfer import sent


@dataclass(frozen=True)
class Preprocessing:
    """What an image processor does: bicubic resize with antialiasing, centre crop, normalise; in float32.

    `resize` is the shorter side after the resize, or (height, width); None for none of it. With `whole` it is the longer side,
    and black fills the rest of `crop`, so that nothing is cut.
    """

    resize: int | tuple[int, int] | None
    crop: tuple[int, int] | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    whole: bool = False

    @classmethod
    def of(cls, processor: Any) -> Self:
        """The preprocessing of a transformers image processor for CLIP."""
        size, crop = processor.size, processor.crop_size
        resize = size["shortest_edge"] or (size["height"], size["width"])
        return cls(
            resize if processor.do_resize else None,
            (crop["height"], crop["width"]) if processor.do_center_crop else None,
            tuple(processor.image_mean) if processor.do_normalize else (0.0, 0.0, 0.0),
            tuple(processor.image_std) if processor.do_normalize else (1.0, 1.0, 1.0),
        )

    def __call__(self, x: Tensor) -> Tensor:
        """Pixels [B, 3, h, w] as the model takes them, of images x [B, 1 or 3, H, W] in [-1, 1]."""
        pixels = unit(x).to(torch.float32).expand(-1, 3, -1, -1)
        if self.resize is not None:
            size = self._resized(*pixels.shape[2:])
            pixels = F.interpolate(pixels, size=size, mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)
        if self.crop is not None:
            pixels = _framed(pixels, *self.crop) if self.whole else _centre(pixels, *self.crop)
        mean, std = sent(torch.tensor([self.mean, self.std], dtype=torch.float32)[:, :, None, None], pixels.device)
        normalised: Tensor = (pixels - mean) / std
        return normalised

    def _resized(self, height: int, width: int) -> tuple[int, int]:
        if not isinstance(self.resize, int):
            assert self.resize is not None
            return self.resize
        short, long = sorted((height, width))
        if self.whole:
            other, taken = max(1, round(self.resize * short / long)), self.resize
            return (other, taken) if height <= width else (taken, other)
        longer = int(self.resize * long / short)
        return (self.resize, longer) if height <= width else (longer, self.resize)


def _framed(pixels: Tensor, height: int, width: int) -> Tensor:
    """The images in the middle of black ones [B, 3, height, width], which are no smaller."""
    below, right = height - pixels.shape[2], width - pixels.shape[3]
    return F.pad(pixels, (right // 2, right - right // 2, below // 2, below - below // 2))


def _centre(pixels: Tensor, height: int, width: int) -> Tensor:
    """The centre [B, 3, height, width], with zeros around images that are smaller."""
    below, right = max(0, height - pixels.shape[2]), max(0, width - pixels.shape[3])
    pixels = F.pad(pixels, (-(-right // 2), right // 2, -(-below // 2), below // 2))
    top, left = (pixels.shape[2] - height) // 2, (pixels.shape[3] - width) // 2
    return pixels[:, :, top : top + height, left : left + width]
