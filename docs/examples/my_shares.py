"""A judge of shares and the images by which its errors are known, by import path: `judge: my_shares:Brightness`."""

import torch
from torch import Tensor, nn


class Brightness(nn.Module):
    """Logits [B, 2] of dark and light images: a judge that errs where images are of middling brightness."""

    def forward(self, x: Tensor) -> Tensor:
        light = 6.0 * x.flatten(1).mean(1)
        return torch.stack([-light, light], dim=1)


def labelled() -> tuple[Tensor, list[str]]:
    """400 images [1, 8, 8] that no judge has seen, and what people called them."""
    source = torch.Generator().manual_seed(0)
    level = torch.rand(400, generator=source) * 1.6 - 0.8
    images = (level.view(-1, 1, 1, 1) + 0.2 * torch.randn(400, 1, 8, 8, generator=source)).clamp(-1, 1)
    called = level + 0.1 * torch.randn(400, generator=source)
    return images, ["light" if each > 0 else "dark" for each in called.tolist()]
