"""A denoiser of 8 x 8 images that trains in a second: what makes hundreds of constrained trainings affordable."""

from __future__ import annotations

import torch
from torch import Tensor, nn

TIMESTEPS, WIDTH, WAVES = 200, 128, 8


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
        phases = (t.float() / TIMESTEPS)[:, None] * self.waves
        predicted: Tensor = self.layers(torch.cat([x.flatten(1), phases.sin(), phases.cos()], dim=1))
        return predicted.view_as(x)


def build() -> Denoiser:
    return Denoiser()
