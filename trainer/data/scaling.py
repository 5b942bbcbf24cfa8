"""Pixels as numbers in [-1, 1]."""

from __future__ import annotations

import torch


def scaled(pixels: torch.Tensor) -> torch.Tensor:
    """Pixels 0..255 of any shape as contiguous float32 in [-1, 1], the same to the bit on every device; other numbers as they
    are.
    """
    if pixels.dtype != torch.uint8:
        return pixels
    # A tensor, as CUDA would multiply by the reciprocal of a number, which rounds differently.
    half = torch.full((), 127.5, device=pixels.device)
    return pixels.to(torch.float32, memory_format=torch.contiguous_format).div_(half).sub_(1)
