"""Rewards by import path: from samples [B, C, H, W] in [-1, 1] to one value for each, [B]."""

import torch
from torch import Tensor


def symmetry(samples: Tensor) -> Tensor:
    """Differentiable: 0 for an image that is its own mirror image, below 0 for any other."""
    return -(samples - samples.flip(-1)).abs().mean(dim=(1, 2, 3))


def holes(samples: Tensor) -> Tensor:
    """Black-box, since a count has no gradient: the number of dark pixels with only bright ones around them."""
    bright = samples[:, 0] > 0
    inner = bright[:, 1:-1, 1:-1]
    around = bright[:, :-2, 1:-1] & bright[:, 2:, 1:-1] & bright[:, 1:-1, :-2] & bright[:, 1:-1, 2:]
    return torch.sum(~inner & around, dim=(1, 2))
