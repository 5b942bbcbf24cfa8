from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.margins import Sampled
from trainer.data.examples import InMemory
from trainer.errors import TrainingError
from trainer.evaluation.evidence import Evidence, NotMeasured
from trainer.evaluation.images import Rows
from trainer.evaluation.judge import ConvJudge
from trainer.evaluation.shares import class_shares, metric_names, shares, tv_from_uniform


class Oracle:
    """Reads the probabilities off the samples themselves."""

    def features(self, x: torch.Tensor) -> torch.Tensor:
        return x

    def probabilities(self, x: torch.Tensor) -> torch.Tensor:
        return x


def _evidence(samples: torch.Tensor, names: tuple[int | str, ...]) -> Evidence:
    return Evidence(samples, Rows.of(samples), Rows.of(samples), None, Oracle(), names)


def test_shares_are_of_the_likeliest_class() -> None:
    probabilities = np.array([[0.6, 0.3, 0.1], [0.4, 0.35, 0.25], [0.1, 0.2, 0.7], [0.5, 0.5, 0.0]])
    assert shares(probabilities).tolist() == [0.75, 0.0, 0.25]


def test_distance_from_uniform_at_its_ends() -> None:
    assert tv_from_uniform(np.full(10, 0.1)) == pytest.approx(0.0)
    assert tv_from_uniform(np.eye(4)[0]) == pytest.approx(0.75)
    assert tv_from_uniform(np.array([0.5, 0.5, 0.0, 0.0])) == pytest.approx(0.5)


def test_metric_holds_a_share_for_every_class() -> None:
    samples = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.2, 0.8], [0.7, 0.3]])
    assert class_shares(_evidence(samples, ("cat", 7))) == {"share/cat": 0.75, "share/7": 0.25, "tv_from_uniform": 0.25}


def test_classes_without_names_are_numbered() -> None:
    assert set(class_shares(_evidence(torch.eye(3), ()))) == {"share/0", "share/1", "share/2", "tv_from_uniform"}


def test_names_become_legal_and_stay_apart() -> None:
    assert metric_names(("a/b", "a:b", "..", "ok-1", 3, "Größe")) == ["a_b_0", "a_b_1", "class_2", "ok-1", "3", "Gr__e"]


def test_a_judge_of_other_classes_is_refused() -> None:
    with pytest.raises(TrainingError, match=r"data's 2 classes, but got 3;.*\['cat', 'dog'\]"):
        class_shares(_evidence(torch.eye(3), ("cat", "dog")))


def test_without_a_judge_there_are_no_shares() -> None:
    evidence = Evidence(torch.eye(3), Rows.of(torch.eye(3)), Rows.of(torch.eye(3)), None, None, ())
    with pytest.raises(NotMeasured, match="needs a judge"):
        class_shares(evidence)


def test_shares_of_the_digits_are_their_counts(digits: InMemory, judge: ConvJudge, sampled: Sampled) -> None:
    assert digits.labels is not None
    rows = Rows(digits, np.arange(len(digits)))
    found = class_shares(Evidence(digits.images, rows, rows, None, judge, digits.class_names))
    for name, count in enumerate(np.bincount(digits.labels)):
        sampled.near(f"share of {name}", found[f"share/{name}"], count / len(digits), abs=0.005)
    sampled.at_most("distance from uniform", found["tv_from_uniform"], 0.02)
