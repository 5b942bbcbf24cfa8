"""The learned part of a log-flow: a small network from a noised sample and its timestep to one number."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from dualsweep.trainer.transfer import sent

#: Frequencies of the timestep's sines and cosines.
FREQUENCIES = 4
#: An image is halved until no side is longer than this.
SIDE = 4


class Flow(nn.Module):
    """x [B, *shape] and t [B] in 0..T-1 to [B], zero before it is trained.

    A perceptron, or a convolutional network where samples are images [C, H, W]. Where samples have one of several `prompts`,
    each has a flow of its own: it takes which, [B].
    """

    def __init__(self, shape: tuple[int, ...], width: int, timesteps: int, prompts: int = 1) -> None:
        super().__init__()
        self._timesteps = timesteps
        self.time = nn.Sequential(nn.Linear(1 + 2 * FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width))
        image = len(shape) == 3
        self.first = nn.Conv2d(shape[0], width, 3, padding=1) if image else nn.Linear(math.prod(shape), width)
        halvings = max(1, math.ceil(math.log2(max(shape[1:]) / SIDE))) if image else 0
        layers = [_halving(width) for _ in range(halvings)] if image else [_dense(width) for _ in range(2)]
        self.layers = nn.ModuleList(layers)
        self.last = nn.Linear(width, 1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)
        self._image = image
        self.prompts = nn.Embedding(prompts, width) if prompts > 1 else None

    def forward(self, x: Tensor, t: Tensor, prompts: Tensor | None = None) -> Tensor:
        # In full precision whatever the model's: residuals are small differences of large numbers.
        with torch.autocast(x.device.type, enabled=False):
            x = x.float()
            h = self.first(x if self._image else x.flatten(1))
            time = self.time(self._features(t))
            if self.prompts is not None and prompts is not None:
                time = time + self.prompts(sent(prompts, x.device))
            for layer in self.layers:
                h = layer(h + (time[:, :, None, None] if self._image else time))
            result: Tensor = self.last(h.mean((2, 3)) if self._image else h)[:, 0]
        return result

    def _features(self, t: Tensor) -> Tensor:
        part = t[:, None].float() / self._timesteps
        angles = part * math.pi * 2.0 ** torch.arange(FREQUENCIES, device=t.device)
        return torch.cat([part, angles.sin(), angles.cos()], dim=1)


def _dense(width: int) -> nn.Module:
    return nn.Sequential(nn.SiLU(), nn.Linear(width, width))


def _halving(width: int) -> nn.Module:
    # A group of one channel would take out what the timestep added to it.
    return nn.Sequential(
        nn.GroupNorm(math.gcd(max(1, width // 2), 8), width), nn.SiLU(), nn.Conv2d(width, width, 3, stride=2, padding=1)
    )
