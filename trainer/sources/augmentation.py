"""What is done to each image of the data as it is drawn: flips and crops."""

from __future__ import annotations

from torch import Tensor

from dualsweep.trainer.sources.crops import Crops, shifted
from dualsweep.trainer.sources.flips import Flips, mirrored
from dualsweep.trainer.sources.mixture_batch import GlobalBatch, Integers


class Augmentation:
    """Flips, crops or both, in this order."""

    def __init__(self, flips: Flips | None, crops: Crops | None) -> None:
        self._flips, self._crops = flips, crops

    def of_step(self, x: Tensor, batch: GlobalBatch, mine: Integers, first: Integers) -> Tensor:
        """Of a worker's draws of a step the images x [b, C, H, W] as they are trained on; `first` [p] as for the batch."""
        if self._flips is not None:
            x = mirrored(x, self._flips.of_step(batch, mine, first))
        return x if self._crops is None else shifted(x, self._crops.of_step(batch, mine, first), self._crops.most)

    def of_draws(self, x: Tensor, column: int, rows: Integers, draws: range, within: slice) -> Tensor:
        """Of the final `draws`, of `rows` [n], those `within`: the images x [b, C, H, W] as they are measured."""
        if self._flips is not None:
            x = mirrored(x, self._flips.of_draws(column, rows, draws)[within])
        return x if self._crops is None else shifted(x, self._crops.of_draws(column, rows, draws)[within], self._crops.most)
