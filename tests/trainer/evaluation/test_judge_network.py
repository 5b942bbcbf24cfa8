from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.svm import SVC

from dualsweep.trainer.data.examples import InMemory
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.evaluation.judge import ConvJudge, train_judge
from dualsweep.trainer.recipe.evaluation import JudgeSpec
from tests.margins import Sampled


def _parts(digits: InMemory, seed: int) -> tuple[np.ndarray, np.ndarray]:
    order = np.random.default_rng(seed).permutation(len(digits))
    cut = int(0.8 * len(order))
    return order[:cut], order[cut:]


def test_knows_digits_it_never_saw_as_well_as_an_svm(digits: InMemory, sampled: Sampled) -> None:
    assert digits.labels is not None
    seen, unseen = _parts(digits, sampled.seed)
    judge = train_judge(digits.images[seen], torch.from_numpy(digits.labels[seen]), 10, JudgeSpec(), seed=sampled.seed)
    answers = judge.probabilities(digits.images[unseen]).argmax(dim=1).numpy()
    flat = digits.images.flatten(1).numpy()
    svm = SVC(gamma=0.05, C=10.0).fit(flat[seen], digits.labels[seen])
    sampled.at_least("share of right answers", (answers == digits.labels[unseen]).mean(), 0.96)
    sampled.at_least("share of the SVM's answers", (answers == svm.predict(flat[unseen])).mean(), 0.96)


def _small(digits: InMemory, seed: int, epochs: int = 2) -> ConvJudge:
    assert digits.labels is not None
    spec = JudgeSpec(epochs=epochs, features=12)
    return train_judge(digits.images[:300], torch.from_numpy(digits.labels[:300]), 10, spec, seed)


def test_is_a_function_of_the_seed_and_leaves_global_state_alone(digits: InMemory) -> None:
    torch.manual_seed(1)
    np.random.seed(1)  # the global state is what is watched
    before, before_numpy = torch.get_rng_state(), str(np.random.get_state())
    first = _small(digits, 0).state_dict()
    assert torch.equal(before, torch.get_rng_state())
    assert before_numpy == str(np.random.get_state())
    torch.manual_seed(2)
    again, other = _small(digits, 0).state_dict(), _small(digits, 1).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_features_and_probabilities(digits: InMemory) -> None:
    judge = _small(digits, 0)
    features, probabilities = judge.features(digits.images[:7]), judge.probabilities(digits.images[:7])
    assert features.shape == (7, 12)
    assert probabilities.shape == (7, 10)
    assert not features.requires_grad
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(7))
    torch.testing.assert_close(features.mean(dim=1), torch.zeros(7), atol=1e-5, rtol=0.0)
    torch.testing.assert_close(features.square().mean(dim=1), torch.ones(7), atol=1e-3, rtol=0.0)


@pytest.mark.parametrize("shape", [(1, 2, 9), (1, 4, 4), (3, 5, 9), (3, 32, 32), (2, 40, 33), (2,), (3, 4), (6, 2, 3, 4)])
def test_any_shape(shape: tuple[int, ...], sampled: Sampled) -> None:
    """Two classes told apart by their brightness."""
    labels = torch.arange(64) % 2
    x = torch.randn((64, *shape), generator=torch.Generator().manual_seed(sampled.seed)) * 0.1 + (labels - 0.5).reshape(
        -1, *[1] * len(shape)
    )
    judge = train_judge(x, labels, 2, JudgeSpec(epochs=10, features=8), seed=sampled.seed)
    sampled.at_least("share told apart", (judge.probabilities(x).argmax(dim=1) == labels).float().mean(), 0.95)


def test_images_without_a_class_are_passed_over(digits: InMemory) -> None:
    assert digits.labels is not None
    labels = torch.from_numpy(digits.labels[:300].copy())
    labels[200:] = -1
    spec = JudgeSpec(epochs=1, features=8)
    spoilt = digits.images[:300].clone()
    spoilt[200:] = torch.nan
    assert all(tensor.isfinite().all() for tensor in train_judge(spoilt, labels, 10, spec, seed=0).state_dict().values())


def test_wrong_data_are_refused(digits: InMemory) -> None:
    x, spec = digits.images[:20], JudgeSpec(epochs=1)
    with pytest.raises(ValueError, match=r"labels in 0\.\.1, but got labels up to 9"):
        train_judge(x, torch.full((20,), 9), 2, spec, seed=0)
    with pytest.raises(ValueError, match="but got none"):
        train_judge(x, torch.full((20,), -1), 2, spec, seed=0)
    with pytest.raises(TrainingError, match="loss must be finite, but got nan"):
        train_judge(x * torch.nan, torch.arange(20) % 2, 2, spec, seed=0)
