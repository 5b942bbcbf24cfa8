"""A model by import path: called with x [B, 2] and t [B], it returns a prediction of x's shape."""

import torch
from torch import Tensor, nn


class Perceptron(nn.Module):
    """A small network for points; t comes as whole numbers from 0 to `schedule.timesteps` - 1."""

    def __init__(self, timesteps: int) -> None:
        super().__init__()
        self.timesteps = timesteps
        self.layers = nn.Sequential(nn.Linear(3, 128), nn.SiLU(), nn.Linear(128, 128), nn.SiLU(), nn.Linear(128, 2))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        time = t.float().unsqueeze(1) / self.timesteps
        result: Tensor = self.layers(torch.cat([x, time], dim=1))
        return result


def build() -> nn.Module:
    """For `model.call`: takes nothing and returns the module."""
    return Perceptron(timesteps=200)
