"""scikit-learn's packaged digits: 1,797 handwritten digits, 8x8 grey, classes 0..9."""

from __future__ import annotations

import numpy as np
import torch

from dualsweep.trainer.data.examples import Examples, InMemory


def load() -> Examples:
    """All digits, [1, 8, 8]; their 0..16 become -1..1."""
    from sklearn.datasets import load_digits  # here: it takes half a second that other sources need not spend

    digits = load_digits()
    images = torch.from_numpy(digits.images.astype(np.float32))[:, None] / 8 - 1
    return InMemory(images, digits.target.astype(np.int64), tuple(range(10)))
