"""Random flips of images: which draws are mirrored left to right."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dualsweep.trainer.rng import Stream, generator
from dualsweep.trainer.sources.mixture_batch import GlobalBatch, Integers
from dualsweep.trainer.transfer import sent

Flags = NDArray[np.bool_]


class Flips:
    """Mirrors each draw of the first `rows` rows, which are data, with probability one half.

    In training that depends on (seed, part, number of the draw) alone, so that it is the same however a batch is divided, and
    after a run was interrupted; in final values on (seed, column, position).
    """

    def __init__(self, seed: int, rows: int) -> None:
        self._seed, self._rows = seed, rows

    def of_step(self, batch: GlobalBatch, mine: Integers, first: Integers) -> Flags:
        """Which of a worker's draws [b] of a step are mirrored; `first` [p] are the parts' first draws in it."""
        return (batch.uniforms(self._seed, Stream.FLIP, mine, first) < 0.5) & (batch.index[mine] < self._rows)

    def of_draws(self, column: int, rows: Integers, draws: range) -> Flags:
        """Which of the final `draws`, of these `rows` [n], are mirrored."""
        return (generator(self._seed, Stream.FLIP, (1 << 40) + column, draws.start).random(len(rows)) < 0.5) & (rows < self._rows)


def mirrored(x: Tensor, flipped: Flags) -> Tensor:
    """Images [B, C, H, W], those that are `flipped` [B] mirrored left to right."""
    return torch.where(sent(flipped, x.device).view(-1, 1, 1, 1), x.flip(-1), x)
