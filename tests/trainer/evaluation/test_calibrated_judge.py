"""Judges of shares, the project's own and a user's: what each is shown, and by which images its errors are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from dualsweep.trainer.data.examples import InMemory
from dualsweep.trainer.data.faults import BadDataError
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.evaluation.calibrated_judge import JudgesOfShares
from dualsweep.trainer.evaluation.judge import ConvJudge
from dualsweep.trainer.evaluation.variants import Variants
from dualsweep.trainer.recipe.evaluation import JudgeSpec
from dualsweep.trainer.recipe.share import Share
from tests.margins import Sampled
from tests.trainer.conftest import WriteModule

CPU = torch.device("cpu")
MODULE = """
import torch

class Sign:
    def probabilities(self, x):
        return torch.cat([x[:, :1] <= 0, x[:, :1] > 0], dim=1).float()

class Three:
    def probabilities(self, x):
        return x.new_full((len(x), 3), 1 / 3)

class Logits(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(3.0))
        self.dropout = torch.nn.Dropout(0.5)

    def forward(self, x):
        return self.dropout(torch.cat([-x[:, :1], x[:, :1]], dim=1) * self.scale)

class Nothing:
    pass

class Left:
    def probabilities(self, x):
        return torch.stack([x[..., :4].sum((1, 2, 3)), x[..., 4:].sum((1, 2, 3))], dim=1).softmax(1)

def unseen():
    x = torch.linspace(-1, 1, 40)[:, None].expand(40, 2).contiguous()
    return x, ["positive" if each > 0.1 else "negative" for each in x[:, 0].tolist()]

def few():
    return unseen()[0][::8], unseen()[1][::8]
"""


@pytest.fixture
def judges(module: WriteModule) -> JudgesOfShares:
    module("own_judges", MODULE)
    return JudgesOfShares(JudgeSpec(), None, None, CPU)


def share(**options: object) -> Share:
    return Share.model_validate({"of": "positive", "calibration": "own_judges:unseen", **options})


def test_the_projects_judge_is_not_shown_what_it_is_known_by(digits: InMemory, tmp_path: Path, sampled: Sampled) -> None:
    asked = Share.model_validate({"of": 4, "held_out": 0.25})
    judges = JudgesOfShares(JudgeSpec(epochs=10), digits, str(tmp_path), CPU)
    judge = judges(asked)
    assert digits.labels is not None
    wanted = sum(count - int(0.75 * count) for count in np.bincount(digits.labels))
    assert judge.confusion.images == wanted
    assert len(list(tmp_path.glob("judge-*.safetensors"))) == 1
    assert judges(Share.model_validate({"of": 5, "held_out": 0.25})) is judge
    _, seen = judges.unlearned(asked)
    shares = judge.corrected(digits.fetch(seen.rows)).mean(0).numpy()
    truth = np.bincount(seen.labels) / len(seen.labels)
    assert shares == pytest.approx(truth, abs=1e-5)  # where C was measured W C is 1
    sampled.at_least("judged right", np.diag(judge.confusion.matrix), 0.7)


def test_a_judge_that_was_shown_them_would_seem_better(digits: InMemory, judge: ConvJudge, sampled: Sampled) -> None:
    honest = JudgesOfShares(JudgeSpec(), digits, None, CPU)(Share.model_validate({"of": 4}))
    assert digits.labels is not None
    with torch.no_grad():
        known = judge.probabilities(digits.images).numpy()[np.arange(len(digits)), digits.labels]
    sampled.at_most("judged right", float(np.diag(honest.confusion.matrix).mean()), float(known.mean()) - 0.002)


def test_a_judge_of_the_users(judges: JudgesOfShares) -> None:
    judge = judges(share(judge="own_judges:Sign"))
    assert judge.names == ("negative", "positive")
    # of 22 images of the first class 2 lie above 0
    assert judge.confusion.matrix.tolist() == pytest.approx(np.array([[20 / 22, 0], [2 / 22, 1]]))
    assert judge.corrected(torch.tensor([[-1.0], [1.0]]))[:, 1].tolist() == pytest.approx([-0.1, 1.0])


def test_a_module_of_logits_is_a_judge_without_dropout_whose_weights_stay(judges: JudgesOfShares) -> None:
    judge = judges(share(judge="own_judges:Logits"))
    x = torch.tensor([[0.3], [-0.2]], requires_grad=True)
    first = judge.corrected(x)
    assert torch.equal(first, judge.corrected(x.clone()))
    assert torch.autograd.grad(first[:, 1].sum(), x)[0].gt(0).all()
    told = torch.softmax(torch.tensor([[-0.9, 0.9], [0.6, -0.6]]), 1).double().numpy()
    assert first.detach().numpy() == pytest.approx(told @ judge.confusion.weights.T, abs=1e-6)


def test_one_batch_is_judged_once_for_all_shares(judges: JudgesOfShares) -> None:
    judge = judges(share(judge="own_judges:Sign"))
    x = torch.tensor([[1.0]])
    assert judge.corrected(x) is judge.corrected(x)
    with torch.no_grad():
        there = judge.corrected(x)
    assert judge.corrected(x) is not there


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"judge": "own_judges:Three"}, r"a column for each of its 2 classes, .'negative', 'positive'.*\[40, 3\]"),
        ({"judge": "own_judges:Sign", "classes": ["negative", "positve"]}, "'positive'; did you mean `positve`"),
        ({"judge": "own_judges:Three", "classes": ["negative", "positive", "zero"]}, "at least 5 images .* got 0 of zero"),
        ({"judge": "own_judges:Sign", "calibration": "own_judges:few"}, "at least 5 images of each class .* got 2 of positive"),
        ({"judge": "own_judges:Sign", "calibration": None}, "labelled images by which its errors are known, but got none"),
        ({"judge": "own_judges:Nothing"}, "must have probabilities.x., or be a torch module of logits"),
        ({}, "must have data with labels of two classes or more"),
    ],
)
def test_what_is_no_judge_of_shares(judges: JudgesOfShares, options: dict[str, object], said: str) -> None:
    with pytest.raises(TrainingError, match=said):
        judges(share(**options))


def test_labelled_images_that_are_none(judges: JudgesOfShares) -> None:
    with pytest.raises(BadDataError, match=r"share\.calibration"):
        judges(share(judge="own_judges:Sign", calibration="own_judges:Nothing"))


def spots(first: int, second: int, count: int, seed: int) -> InMemory:
    """`count` images [1, 8, 8] of each of two classes: one bright column, of number `first` or `second`, in noise."""
    images = 0.3 * torch.randn((2 * count, 1, 8, 8), generator=torch.Generator().manual_seed(seed))
    labels = np.arange(2 * count) % 2
    images[::2, :, :, first] += 1
    images[1::2, :, :, second] += 1
    return InMemory(images.clamp(-1, 1), labels, ("first", "second"))


@pytest.mark.parametrize("variants", [Variants(flip=True), Variants(most=2), Variants(flip=True, most=1)])
def test_shares_of_what_is_trained_on_mirrored_and_shifted(variants: Variants, sampled: Sampled) -> None:
    """A model of both classes alike, whose samples are as often mirrored and shifted as what it is trained on."""
    data = spots(0, 3, 300, sampled.seed)
    judges = JudgesOfShares(JudgeSpec(epochs=8), data, None, CPU, variants)
    judge = judges(Share.model_validate({"of": "first"}))
    fresh = spots(0, 3, 1000, 1000 + sampled.seed)
    numbers = np.random.default_rng(sampled.seed).integers(len(variants), size=2000)
    given = judge.corrected(variants.of(fresh.images, numbers))[:, 0]
    known = judge.confusion.errors[:, 0, 0] @ np.array([0.25, 0.25])
    error = float(np.sqrt(given.var().item() / 2000 + known))
    sampled.near("share of the first class", (given.mean().item() - 0.5) / error, 0.0, abs=4.5)
    assert error < 0.05


@pytest.mark.parametrize("options", [{}, {"judge": "own_judges:Left"}])
def test_classes_that_are_each_other_s_mirror_images_cannot_be_told_apart(module: WriteModule, options: dict[str, str]) -> None:
    module("own_judges", MODULE)
    asked, data = Share.model_validate({"of": "first", **options}), spots(1, 6, 200, 0)
    assert JudgesOfShares(JudgeSpec(epochs=3), data, None, CPU)(asked).confusion.matrix.diagonal().min() > 0.9
    with pytest.raises(TrainingError, match="must tell its classes apart"):
        JudgesOfShares(JudgeSpec(epochs=3), data, None, CPU, Variants(flip=True))(asked)


def test_labelled_images_of_the_user_s_own_are_taken_as_they_are(module: WriteModule) -> None:
    module("own_judges", MODULE)
    asked = share(judge="own_judges:Sign")
    plain, flipped = (JudgesOfShares(JudgeSpec(), None, None, CPU, each)(asked) for each in (Variants(), Variants(flip=True)))
    assert (plain.confusion.matrix == flipped.confusion.matrix).all()
