"""Rows of a set of images, read a chunk at a time, so that evaluation never holds a whole data set at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from dualsweep.trainer.data.examples import InMemory

Integers = NDArray[np.int64]

CHUNK = 1024
"""Images that are read and judged at a time."""


class Images(Protocol):
    """What evaluation needs of a data set."""

    def fetch(self, rows: Integers) -> torch.Tensor:
        """The images [B, *shape] of these rows, float32 in [-1, 1]."""
        ...


@dataclass(frozen=True)
class Rows:
    """Some rows of `images`; position p of them is row `rows[p]`."""

    images: Images
    rows: Integers

    @classmethod
    def of(cls, x: torch.Tensor) -> Rows:
        """All the rows of a tensor [N, *shape]."""
        return cls(InMemory(x), np.arange(len(x)))

    def __len__(self) -> int:
        return len(self.rows)

    def at(self, positions: Integers) -> torch.Tensor:
        """The images [len(positions), *shape] at these positions."""
        return self.images.fetch(self.rows[positions])

    def chunks(self, size: int) -> Iterator[torch.Tensor]:
        """The images in order, [size, *shape] at a time, the last chunk maybe smaller."""
        for start in range(0, len(self.rows), size):
            yield self.images.fetch(self.rows[start : start + size])
