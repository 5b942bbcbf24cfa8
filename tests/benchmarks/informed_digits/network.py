"""A denoiser of 8 x 8 images that trains in a second: what makes hundreds of constrained trainings affordable.

And the same on multipliers, for the amortised front: beside it in a class of its own, so that its weights begin as they did.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

TIMESTEPS, WIDTH, WAVES, CONSTRAINTS = 200, 128, 8, 3
#: The scale of the multipliers' logarithm, as in the range of the amortised training.
LOW = 0.003


class Denoiser(nn.Module):
    """Two hidden layers on the pixels [B, 1, 8, 8] and sines of the timestep [B]."""

    waves: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("waves", 0.25 * torch.pi * 2.0 ** torch.arange(WAVES))
        self.layers = nn.Sequential(
            nn.Linear(64 + 2 * WAVES, WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH), nn.SiLU(), nn.Linear(WIDTH, 64)
        )

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        predicted: Tensor = self.layers(self.inputs(x, t))
        return predicted.view_as(x)

    def inputs(self, x: Tensor, t: Tensor) -> Tensor:
        """What the layers see, [B, 64 + 2 * WAVES]."""
        phases = (t.float() / TIMESTEPS)[:, None] * self.waves
        return torch.cat([x.flatten(1), phases.sin(), phases.cos()], dim=1)


class Conditioned(Denoiser):
    """Multipliers [B, m] move the first hidden layer; at first they do nothing."""

    def __init__(self) -> None:
        super().__init__()
        last = nn.Linear(64, WIDTH)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.embedding = nn.Sequential(nn.Linear(CONSTRAINTS, 64), nn.SiLU(), last)

    def forward(self, x: Tensor, t: Tensor, multipliers: Tensor | None = None) -> Tensor:
        hidden = self.layers[0](self.inputs(x, t))
        if multipliers is not None:
            hidden = hidden + self.embedding(torch.log1p(multipliers / LOW) / math.log1p(1.0 / LOW))
        predicted: Tensor = self.layers[1:](hidden)
        return predicted.view_as(x)


def build() -> Denoiser:
    return Denoiser()


def conditioned() -> Conditioned:
    return Conditioned()
