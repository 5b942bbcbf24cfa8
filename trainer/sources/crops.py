"""Random crops of images: how far each draw is shifted within its own, reflected border."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from dualsweep.trainer.rng import Stream, generator
from dualsweep.trainer.sources.mixture_batch import GlobalBatch, Integers
from dualsweep.trainer.transfer import sent


class Crops:
    """Shifts each draw of the first `rows` rows, which are data, by -`most` to `most` pixels along both sides, all equally often.

    In training that depends on (seed, part, number of the draw) alone, in final values on (seed, column, position), as flips do.
    """

    def __init__(self, seed: int, rows: int, most: int) -> None:
        self._seed, self._rows, self.most = seed, rows, most

    def of_step(self, batch: GlobalBatch, mine: Integers, first: Integers) -> Integers:
        """The shifts [b, 2] of a worker's draws of a step, down and right; `first` [p] are the parts' first draws in it."""
        return self._shifts(batch.uniforms(self._seed, Stream.CROP, mine, first), batch.index[mine])

    def of_draws(self, column: int, rows: Integers, draws: range) -> Integers:
        """The shifts [n, 2] of the final `draws`, of these `rows` [n]."""
        return self._shifts(generator(self._seed, Stream.CROP, (1 << 40) + column, draws.start).random(len(rows)), rows)

    def _shifts(self, uniform: np.ndarray, rows: Integers) -> Integers:
        side = 2 * self.most + 1
        places = np.stack(np.divmod((uniform * side**2).astype(np.int64), side), axis=1) - self.most
        return np.where(rows[:, None] < self._rows, places, 0)


def shifted(x: Tensor, shifts: Integers, most: int) -> Tensor:
    """Images [B, C, H, W], each shifted by its own of `shifts` [B, 2], at most `most`; what comes in is reflected."""
    wide, (height, width) = pad(x, (most,) * 4, mode="reflect"), x.shape[2:]
    corner = sent(most - shifts, x.device)
    rows = (corner[:, :1] + torch.arange(height, device=x.device))[:, :, None]
    columns = (corner[:, 1:] + torch.arange(width, device=x.device))[:, None, :]
    image = torch.arange(len(x), device=x.device)[:, None, None]
    return wide[image, :, rows, columns].permute(0, 3, 1, 2).contiguous()
