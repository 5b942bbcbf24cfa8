"""What rewards of images share: the range, the luma, and a square root with a gradient everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

REC709 = (0.2126, 0.7152, 0.0722)
TINY = 1e-12


def unit(x: Tensor) -> Tensor:
    """Images [B, C, H, W] in [-1, 1] as [0, 1], at least float32.

    What lies outside counts as the nearest end, as when an image is saved, and has no gradient.
    """
    wide = x.float() if x.element_size() < 4 else x
    return (wide.clamp(-1, 1) + 1) / 2


def luma(x: Tensor) -> Tensor:
    """The luma Y' [B, H, W] in [0, 1] of images [B, 1 or 3, H, W] in [-1, 1], with the weights of ITU-R BT.709.

    The weights apply to the stored, gamma-encoded values.
    """
    channels = unit(x)
    if channels.shape[1] == 1:
        return channels[:, 0]
    return sum((weight * channels[:, c] for c, weight in enumerate(REC709)), start=channels.new_zeros(()))


def root(square: Tensor) -> Tensor:
    """The square root, with gradient zero in place of infinity below `TINY`."""
    return square.clamp(min=TINY).sqrt()
