"""What an image of the data may be trained on as: mirrored, or shifted (`data.random_flip`, `data.random_crop`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from torch import Tensor

from dualsweep.trainer.evaluation.images import Images, Integers
from dualsweep.trainer.rng import Stream, generator
from dualsweep.trainer.sources.crops import shifted
from dualsweep.trainer.sources.flips import mirrored


@dataclass(frozen=True)
class Variants:
    """All that one image may be trained on as, numbered from 0 and equally probable: its shifts by -`most` to `most` pixels along
    both sides, with `flip` those of its mirror image as well. Without either it is the image alone.
    """

    flip: bool = False
    most: int = 0

    def __len__(self) -> int:
        return (1 + self.flip) * (2 * self.most + 1) ** 2

    def of(self, x: Tensor, numbers: Integers) -> Tensor:
        """Of each of the images x [B, C, H, W] the variant with its number [B]; x of any shape where there is but one."""
        place, flipped = np.divmod(numbers, 1 + self.flip)
        if self.flip:
            x = mirrored(x, flipped.astype(np.bool_))
        if not self.most:
            return x
        return shifted(x, np.stack(np.divmod(place, 2 * self.most + 1), axis=1) - self.most, self.most)


#: Of images that are trained on as they are.
ALONE = Variants()


@dataclass(frozen=True)
class Varied:
    """Images, each as the variant of its row's number of `numbers` [N]."""

    images: Images
    variants: Variants
    numbers: Integers

    @classmethod
    def drawn(cls, images: Images, variants: Variants, count: int, seed: int, time: int) -> Self:
        """`count` images, each as one of its variants, drawn for a judge: a function of (seed, time) alone."""
        return cls(images, variants, generator(seed, Stream.JUDGE, time, 1).integers(len(variants), size=count))

    def fetch(self, rows: Integers) -> Tensor:
        return self.variants.of(self.images.fetch(rows), self.numbers[rows])
