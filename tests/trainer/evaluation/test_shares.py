from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import binom

from dualsweep.trainer.data.examples import InMemory
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.evaluation.evidence import Evidence, NotMeasured
from dualsweep.trainer.evaluation.images import Rows
from dualsweep.trainer.evaluation.judge import ConvJudge
from dualsweep.trainer.evaluation.shares import share_errors, share_intervals, tallies, tv_from_uniform, tv_interval
from dualsweep.trainer.evaluation.shipped.class_shares import class_shares
from dualsweep.trainer.metric_names import of_classes
from tests.margins import Sampled


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
    assert tallies(probabilities).tolist() == [3, 0, 1]


def test_distance_from_uniform_at_its_ends() -> None:
    assert tv_from_uniform(np.full(10, 0.1)) == pytest.approx(0.0)
    assert tv_from_uniform(np.eye(4)[0]) == pytest.approx(0.75)
    assert tv_from_uniform(np.array([0.5, 0.5, 0.0, 0.0])) == pytest.approx(0.5)


def test_metric_holds_a_share_for_every_class() -> None:
    samples = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.2, 0.8], [0.7, 0.3]])
    metrics = class_shares(_evidence(samples, ("cat", 7)))
    assert (metrics["share/cat"], metrics["share/7"], metrics["tv_from_uniform"]) == (0.75, 0.25, 0.25)
    assert metrics["share_low/7"] == pytest.approx(1 - 0.975 ** (1 / 4))  # the chance of any at all is 0.025
    assert {name.rpartition("/")[0] or name for name in metrics} == {
        "share",
        "share_low",
        "share_high",
        "tv_from_uniform",
        "tv_from_uniform_low",
        "tv_from_uniform_high",
    }  # of four samples no error is told


def test_classes_without_names_are_numbered() -> None:
    assert {"share/0", "share/1", "share/2"} <= set(class_shares(_evidence(torch.eye(3), ())))


def test_names_become_legal_and_stay_apart() -> None:
    assert of_classes(("a/b", "a:b", "..", "ok-1", 3, "Größe")) == ["a_b_0", "a_b_1", "class_2", "ok-1", "3", "Größe"]
    assert of_classes(("Gro\u0308ße", "ねこ")) == ["Größe", "ねこ"], "letters of any script, in one form"


@pytest.mark.parametrize("expected", [5, 20, 250, 495])
def test_errors_of_shares_cover(expected: int) -> None:
    """z = (share - truth) / error, summed over the binomial distribution; all but surely rarer classes have an error."""
    count = np.arange(501)
    chance = binom.pmf(count, 500, expected / 500)
    errors = np.array([share_errors(np.array([each, 500 - each]))[0] for each in count])
    known = np.isfinite(errors)
    assert chance[known].sum() > 0.95
    z, weight = ((count - expected) / 500 / errors)[known], (chance / chance[known].sum())[known]
    mean = weight @ z
    assert abs(mean) <= 0.2 and 0.9 <= np.sqrt(weight @ (z - mean) ** 2) <= 1.15


def test_a_rarer_class_has_an_interval_and_no_error() -> None:
    """Fewer than 5 expected of 500: exact intervals cover at every truth, and none or one seen tell no error."""
    count = np.arange(501)
    low, high = np.array([[end[0] for end in share_intervals(np.array([each, 500 - each]))] for each in count]).T
    for truth in (1e-4, 1e-3, 0.004, 0.02, 0.5, 0.999):
        assert binom.pmf(count, 500, truth)[(low <= truth) & (truth <= high)].sum() >= 0.95
    assert np.isnan(share_errors(np.array([0, 1, 499]))[:2]).all() and not np.isnan(share_errors(np.array([2, 498]))).any()
    assert (low[0], high[500]) == (0.0, 1.0) and high[0] == pytest.approx(1 - 0.025 ** (1 / 500))


@pytest.mark.parametrize("truth", [[0.1] * 10, [0.01] + [0.11] * 9, [0.5, 0.3, 0.2]])
def test_the_interval_of_the_distance_from_uniform_covers(truth: list[float], sampled: Sampled) -> None:
    rng, exact = np.random.default_rng(sampled.seed), tv_from_uniform(np.array(truth))
    ends = np.array([tv_interval(rng.multinomial(500, truth)) for _ in range(300)])
    sampled.at_least("covered", np.mean((ends[:, 0] <= exact + 1e-12) & (exact <= ends[:, 1])), 0.90)
    sampled.at_most("width", np.mean(ends[:, 1] - ends[:, 0]), 0.15)


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
    metrics = class_shares(Evidence(digits.images, rows, rows, None, judge, digits.class_names))
    for name, count in enumerate(np.bincount(digits.labels)):
        sampled.near(f"share of {name}", metrics[f"share/{name}"], count / len(digits), abs=0.005)
    sampled.at_most("distance from uniform", metrics["tv_from_uniform"], 0.02)


def test_where_classes_were_asked_for_the_share_that_is_of_them_is_the_accuracy() -> None:
    samples = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.1, 0.9]])
    evidence = _evidence(samples, ("cat", 7))
    metrics = class_shares(replace(evidence, asked=np.array([0, 0, 1, 1, 1])))
    assert metrics["accuracy/cat"] == 1.0 and metrics["accuracy/7"] == pytest.approx(2 / 3)
    assert metrics["accuracy"] == pytest.approx((1 + 2 / 3) / 2) and metrics["accuracy_error"] > 0
    assert "accuracy" not in class_shares(evidence)


def test_the_error_of_the_accuracy_is_that_of_many_repetitions() -> None:
    random, right = np.random.default_rng(0), np.array([0.95, 0.6, 0.8])
    asked = np.arange(300) % 3
    measured = []
    for _ in range(400):
        seen = np.where(random.random(300) < right[asked], asked, (asked + 1) % 3)
        evidence = replace(_evidence(torch.eye(3)[seen], ("a", "b", "c")), asked=asked)
        metrics = class_shares(evidence)
        measured.append((metrics["accuracy"], metrics["accuracy_error"]))
    accuracies, errors = np.array(measured).T
    spread = accuracies.std()
    assert abs(accuracies.mean() - right.mean()) < 4 * spread / 400**0.5
    assert errors.mean() == pytest.approx(spread, rel=4 / (2 * 400) ** 0.5 + 0.03)
