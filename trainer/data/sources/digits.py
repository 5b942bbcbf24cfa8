"""scikit-learn's packaged digits: 1,797 handwritten digits, 8x8 grey, classes 0..9."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from dualsweep.trainer.data.dataset_info import DatasetInfo, Look
from dualsweep.trainer.data.source_spec import SourceSpec

if TYPE_CHECKING:
    from dualsweep.trainer.data.examples import Examples

COUNTS = (178, 182, 177, 183, 181, 182, 181, 179, 174, 180)
"""Of each of the digits 0..9 (a test compares them)."""

SIDE = 8
_LOOK = Look((1, SIDE, SIDE), sum(COUNTS), low=-1.0, high=1.0)


def load() -> Examples:
    """All digits, [1, 8, 8]; their 0..16 become -1..1."""
    import numpy as np
    import torch
    from sklearn.datasets import load_digits

    from dualsweep.trainer.data.examples import InMemory

    digits = load_digits()
    images = torch.from_numpy(digits.images.astype(np.float32))[:, None] / 8 - 1
    return InMemory(images, digits.target.astype(np.int64), tuple(range(10)))


SOURCE = SourceSpec(
    word="source",
    value=Literal["digits"],
    inspect=lambda value, options: DatasetInfo(True, tuple(range(10)), COUNTS, sum(COUNTS), _LOOK.shape, look=_LOOK),
    load=lambda value, options: load(),
    description="a packaged data set",
    example="digits",
    conclusive=True,
)
