"""A pytest plugin that moves every seed: which tests that do not take `sampled` draw a figure all the same?

    DUALSWEEP_SHIFT=1 python -m pytest -p tests.benchmarks.shifted_draws tests/trainer

runs the tests without the fixture `sampled` with other draws of NumPy and PyTorch. One that fails rests on the seed it was
written at: it states its figure through `sampled` (tests/margins.py), or is exact and was wrong.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
import torch

SHIFT = int(os.environ.get("DUALSWEEP_SHIFT", "1"))
FAR = 1_000_003 * SHIFT


class Generator(torch.Generator):
    def manual_seed(self, seed: int) -> torch.Generator:
        return super().manual_seed(seed + FAR)


def pytest_configure() -> None:
    default_rng, philox, manual_seed = np.random.default_rng, np.random.Philox, torch.manual_seed

    def other_rng(seed: Any = None) -> np.random.Generator:
        return default_rng([*np.ravel(seed), FAR] if isinstance(seed, int | np.integer | list | tuple) else seed)

    def other_philox(seed: Any = None, counter: Any = None, key: Any = None) -> np.random.Philox:
        return philox(seed, counter, None if key is None else [key[0] + FAR, *key[1:]])

    np.random.default_rng, np.random.Philox = other_rng, other_philox  # type: ignore[assignment, misc]
    torch.manual_seed, torch.Generator = lambda seed: manual_seed(seed + FAR), Generator  # type: ignore[misc]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    stated = [item for item in items if "sampled" in getattr(item, "fixturenames", ())]
    config.hook.pytest_deselected(items=stated)
    items[:] = [item for item in items if item not in stated]
