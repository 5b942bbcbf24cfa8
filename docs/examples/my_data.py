"""Data by import path: points in the plane, most of them in one cluster and a few in another."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset


class Clusters(Dataset[tuple[Tensor, str]]):
    """Items (x, label): x is a float tensor of any fixed shape, the label a whole number or a word."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        centres = torch.cat([torch.tensor([[-0.5, 0.0]]).expand(900, 2), torch.tensor([[0.5, 0.0]]).expand(100, 2)])
        self.points = centres + 0.1 * torch.randn(1000, 2, generator=generator)

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, row: int) -> tuple[Tensor, str]:
        return self.points[row], "left" if row < 900 else "right"


def load() -> Clusters:
    """For `data.call`: takes nothing and returns the data set."""
    return Clusters()


def right(labels: NDArray[np.str_]) -> NDArray[np.bool_]:
    """For a constraint's `data.call`: one argument, so it is given the labels of all the data and returns a mask."""
    return np.asarray(labels == "right")


def high() -> Tensor:
    """For a constraint's `data.call`: no argument, so it returns a data set of the constraint's own, here a tensor [N, 2]."""
    generator = torch.Generator().manual_seed(1)
    return torch.tensor([0.5, 0.3]) + 0.1 * torch.randn(50, 2, generator=generator)
