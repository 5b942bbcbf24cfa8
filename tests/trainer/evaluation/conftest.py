from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from dualsweep.trainer.data.examples import InMemory
from dualsweep.trainer.evaluation.judge import ConvJudge, train_judge
from dualsweep.trainer.recipe.evaluation import JudgeSpec


@pytest.fixture(scope="session")
def digits() -> InMemory:
    packed = load_digits()
    images = torch.tensor(packed.images, dtype=torch.float32).unsqueeze(1) / 8.0 - 1.0
    return InMemory(images, packed.target.astype(np.int64), tuple(range(10)))


@pytest.fixture(scope="session")
def judge(digits: InMemory, seed_of_tests: int) -> ConvJudge:
    """Trained on all the digits, as a run's judge is."""
    assert digits.labels is not None
    return train_judge(digits.images, torch.from_numpy(digits.labels), 10, JudgeSpec(), seed=seed_of_tests)
