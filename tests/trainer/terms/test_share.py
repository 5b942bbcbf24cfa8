"""Shares of some of the prompts' samples: their mean, its error, and what is refused of a recipe."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from dualsweep.trainer.data.faults import BadDataError
from dualsweep.trainer.dual.problem import Vector
from dualsweep.trainer.evaluation.calibrated_judge import CalibratedJudge
from dualsweep.trainer.evaluation.confusion import Confusion
from dualsweep.trainer.evaluation.drawn import JointDraws, drawn_values
from dualsweep.trainer.models.spaces import Pixels
from dualsweep.trainer.recipe.share import Share
from dualsweep.trainer.recipe.term_spec import Seen
from dualsweep.trainer.samplers.rollout import Path
from dualsweep.trainer.terms.registry import TERMS
from dualsweep.trainer.terms.shipped.share import ShareTerm, among_faults, judge_errors, judged_alike
from tests.margins import Sampled

SHARE = TERMS["share"]
PROMPTS = ("a doctor", "a nurse", "a tree", "two doctors")


class Told:
    """A judge that says what the samples [B, 3] hold."""

    def probabilities(self, x: torch.Tensor) -> torch.Tensor:
        return x


def setting(prompts: tuple[str, ...] = PROMPTS) -> Any:
    labels = np.repeat(np.arange(3), 20)
    confusion = Confusion.of(np.eye(3)[labels], labels, ("a", "b", "c"))
    judge = CalibratedJudge(Told(), ("a", "b", "c"), confusion, torch.device("cpu"))
    rollout = SimpleNamespace(gradient="policy_gradient")
    return SimpleNamespace(judge_of_shares=lambda share: judge, prompts=prompts, space=Pixels(), rollout=rollout)


def built(asked: Any, **options: Any) -> ShareTerm:
    term = SHARE.build(Share.model_validate({"judge": "a:b", "calibration": "a:c", **options}), asked)
    assert isinstance(term, ShareTerm)
    return term


def path(samples: Vector, prompts: list[int]) -> Path:
    return Path(None, [], [torch.from_numpy(samples).float()], torch.tensor(prompts))  # type: ignore[arg-type]  # no steps


def test_the_mean_is_the_share_among_the_samples_that_are_meant() -> None:
    term = built(setting(), of="b", among=["*Doctor*"])
    samples = np.eye(3)[[1, 0, 2, 1, 0, 1, 1, 1]]
    values = term.values(path(samples, [0, 1, 2, 3, 0, 1, 2, 3]))
    assert values.tolist() == [2.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 2.0]
    assert values.mean() == pytest.approx(3 / 4)
    composition = term.composition(path(samples, [0, 1, 2, 3, 0, 1, 2, 3]))
    assert composition.mean(0).tolist() == pytest.approx([1 / 4, 3 / 4, 0.0])


def test_without_among_or_with_one_prompt_all_samples_count() -> None:
    samples = np.eye(3)[[1, 0]]
    assert built(setting(), of="b").values(path(samples, [0, 1])).tolist() == [1.0, 0.0]
    assert built(setting(("a doctor",)), of="b", among=["a doctor"]).values(path(samples, [0, 0])).tolist() == [1.0, 0.0]


def test_shares_of_the_same_samples_are_judged_once(sampled: Sampled) -> None:
    asked = setting()
    terms = {
        1: built(asked, of="a"), 3: built(asked, of="b"), 4: built(asked, of="a", among=["a doctor"]),
    }  # fmt: skip
    assert len(judged_alike(terms.values())) == 2
    [error] = judge_errors(terms)
    assert (error.columns, error.labels) == ((1, 3, 4), (0, 1, 0))
    assert error.compositions == (slice(0, 3), slice(0, 3), slice(3, 6))
    rng = np.random.default_rng(sampled.seed)
    samples, prompts = np.eye(3)[rng.integers(3, size=400)], (np.arange(400) % 4).tolist()
    along = path(samples, prompts)
    values = torch.stack([each.values(along) for each in terms.values()], dim=1).double().numpy()
    beside = torch.cat([each.composition(along) for each in judged_alike(terms.values()).values()], dim=1).double().numpy()
    draws = JointDraws(error.columns, values, (400,), groups=np.array(prompts), beside=beside)
    plain, whole = (drawn_values(5, [draws], errors).estimate() for errors in ([], [error]))
    more = whole.variance[[1, 3, 4]] - plain.variance[[1, 3, 4]]
    shares = [beside.mean(0)[place] for place in error.compositions]
    wanted = [
        sum(share[k] ** 2 * error.confusion.errors[k, label, label] for k in range(3))
        for share, label in zip(shares, error.labels, strict=True)
    ]
    assert more == pytest.approx(np.array(wanted))
    # a quarter of the draws, which of four are as many as 100 apart
    sampled.near("error among", np.sqrt(plain.variance[4]), np.sqrt(2 / 9 / 100), rel=0.2)


def seen(**known: Any) -> Seen:
    return Seen(("constraints", 0, "share"), None, **{"class_names": (3, 4, "five"), "gradient": "backpropagation", **known})


@pytest.mark.parametrize(
    ("options", "known", "key", "remedy"),
    [
        ({"of": "fife"}, {}, "constraints.0.share.of", "did you mean `five`"),
        ({"of": 4, "judge": "a:b", "classes": ["old", "young"]}, {}, "constraints.0.share.of", "valid: old, young"),
        ({"of": 4}, {"class_names": ()}, "constraints.0.share.of", "give data with labels, or share.calibration"),
        ({"of": 4, "among": ["a doctor"]}, {"texts": ()}, "constraints.0.share.among", "write model.prompts"),
        ({"of": 4, "among": ["*", "a docter"]}, {"texts": PROMPTS}, "constraints.0.share.among.1", "did you mean `a doctor`"),
    ],
)
def test_what_is_refused_of_a_recipe(options: dict[str, Any], known: dict[str, Any], key: str, remedy: str) -> None:
    [fault] = SHARE.faults(Share.model_validate(options), seen(**known))
    assert fault.key == key
    assert remedy in fault.remedy


@pytest.mark.parametrize(
    "options", [{"of": "4"}, {"of": "old", "judge": "a:b", "calibration": "a:c"}, {"of": 4, "among": ["A doctor", "*tree"]}]
)
def test_what_is_taken_of_a_recipe(options: dict[str, Any]) -> None:
    assert not list(SHARE.faults(Share.model_validate(options), seen(texts=PROMPTS)))


def test_a_loaded_models_prompts_are_known_when_the_term_is_built() -> None:
    with pytest.raises(BadDataError, match=r"must fit a prompt or class .*; did you mean `a doctor`"):
        built(setting(), of="a", among=["a docter"])


@pytest.mark.parametrize(("draws", "among"), [(3, ["a tree"]), (1, ["a tree", "a doctor"]), (2, ["a doctor"])])
def test_draws_that_hold_a_prompt_that_is_meant_are_enough(draws: int, among: list[str]) -> None:
    share = Share.model_validate({"of": 4, "among": among})
    assert not list(among_faults(share, PROMPTS, ("objective", "share"), draws))
    [fault] = among_faults(Share.model_validate({"of": 4, "among": ["a tree"]}), PROMPTS, ("objective", "share"), 2)
    assert (fault.key, fault.remedy) == ("objective.share.among", "raise evaluation.loss_draws to 3 at least")
    assert fault.received == "none among those of 2 draws, of 4 prompts or classes in all"


def test_a_class_that_its_judge_does_not_know() -> None:
    with pytest.raises(Exception, match="must be of a class of its judge, but got 'd'; valid: a, b, c"):
        built(setting(), of="d")
