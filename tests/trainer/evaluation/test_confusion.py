"""Shares corrected by a judge's confusion matrix: closed forms of two classes, and coverage of the interval by brute force."""

from __future__ import annotations

import numpy as np
import pytest

from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.evaluation.confusion import FEWEST, Confusion, JudgeError
from dualsweep.trainer.evaluation.drawn import DrawnValues, JointDraws, drawn_values
from tests.margins import Sampled

RUNS = 400
#: The true shares of three classes, and a judge that knows the first well, and takes a quarter of the second for the third.
SHARES = np.array([0.6, 0.3, 0.1])
ERRS = np.array([[0.94, 0.05, 0.02], [0.04, 0.7, 0.08], [0.02, 0.25, 0.9]])


def answers(rng: np.random.Generator, labels: np.ndarray, decides: bool) -> np.ndarray:
    """Of images of these classes [n], the judge's probabilities [n, 3], whose means by class are `ERRS`."""
    told = (rng.random(len(labels))[:, None] > np.cumsum(ERRS[:, labels], axis=0).T).sum(1)
    blurred = 0.0 if decides else 0.5
    result: np.ndarray = (1 - blurred) * np.eye(3)[told] + blurred * ERRS[:, labels].T
    return result


def measured(rng: np.random.Generator, each: int, samples: int, decides: bool = True) -> DrawnValues:
    """The shares of all classes by a judge known from `each` images of each class, on so many samples."""
    labels = np.repeat(np.arange(3), each)
    confusion = Confusion.of(answers(rng, labels, decides), labels, (0, 1, 2))
    corrected = answers(rng, rng.choice(3, samples, p=SHARES), decides) @ confusion.weights.T
    draws = JointDraws((1, 2, 3), corrected, (samples,), beside=corrected)
    return drawn_values(4, [draws], [JudgeError((1, 2, 3), (0, 1, 2), (slice(0, 3),) * 3, confusion)])


def covered(found: list[DrawnValues]) -> np.ndarray:
    """How often [3] the truth is within 1.96 errors of the estimate."""
    estimates = [each.estimate() for each in found]
    within = [np.abs(each.mean[1:] - SHARES) <= 1.96 * np.sqrt(each.variance[1:]) for each in estimates]
    return np.array(np.mean(within, axis=0))


@pytest.mark.parametrize("decides", [True, False])
@pytest.mark.parametrize(("each", "samples"), [(40, 400), (40, 2000)])
def test_the_interval_covers_the_true_shares(each: int, samples: int, decides: bool, sampled: Sampled) -> None:
    """0.95 wanted; of so many runs it is known to 0.011. Errors that few images show make the interval wider, not narrower."""
    rng = np.random.default_rng(sampled.seed)
    found = [measured(rng, each, samples, decides) for _ in range(RUNS)]
    sampled.between("covered", covered(found), 0.905, 1.0)


def test_without_the_judges_error_it_does_not(sampled: Sampled) -> None:
    rng = np.random.default_rng(sampled.seed)
    found = [measured(rng, 40, 2000) for _ in range(RUNS)]
    alone = [DrawnValues(each.size, each.sets) for each in found]
    sampled.at_most("covered", covered(alone)[1:], 0.85)


def test_uncorrected_shares_are_wrong(sampled: Sampled) -> None:
    rng = np.random.default_rng(sampled.seed)
    plain = answers(rng, rng.choice(3, 8000, p=SHARES), True)
    sampled.near("judged", plain.mean(0), ERRS @ SHARES, abs=0.025)
    sampled.near("corrected", measured(rng, 4000, 8000).mean[1:], SHARES, abs=0.05)
    assert np.abs(ERRS @ SHARES - SHARES).max() > 0.06


def test_of_two_classes_it_is_rogan_and_gladens() -> None:
    """(q + sp - 1) / (se + sp - 1), with the variance q (1 - q) / n + p^2 V(se) + (1 - p)^2 V(sp) over the divisor's square."""
    labels = np.repeat([0, 1], [5000, 8000])
    right = np.r_[np.arange(5000) < 4500, np.arange(8000) < 6000]
    confusion = Confusion.of(np.eye(2)[np.where(right, labels, 1 - labels)], labels, ("no", "yes"))
    q, sensitivity, specificity, samples = 0.4, 0.75, 0.9, 10_000
    values = np.eye(2)[(np.arange(samples) < q * samples).astype(int)] @ confusion.weights.T
    draws = JointDraws((1,), values[:, [1]], (samples,), beside=values)
    estimate = drawn_values(2, [draws], [JudgeError((1,), (1,), (slice(0, 2),), confusion)]).estimate()
    divisor = sensitivity + specificity - 1
    share = (q + specificity - 1) / divisor
    judged = share**2 * sensitivity * (1 - sensitivity) / 8000 + (1 - share) ** 2 * specificity * (1 - specificity) / 5000
    wanted = q * (1 - q) / (samples - 1) + judged
    assert estimate.mean[1] == pytest.approx(share, rel=1e-12)
    assert estimate.variance[1] == pytest.approx(wanted / divisor**2, rel=1e-4)
    assert estimate.variance[1] > 1.05 * q * (1 - q) / samples / divisor**2


def test_shares_by_one_judge_vary_together(sampled: Sampled) -> None:
    """Those of all classes sum to 1, so their covariances sum to 0, the judge's error with them."""
    estimate = measured(np.random.default_rng(sampled.seed), 40, 400).estimate()
    assert estimate.of_means is not None
    assert estimate.mean[1:].sum() == pytest.approx(1.0)
    assert np.abs(estimate.of_means[1:, 1:].sum(1)).max() < 1e-9 < estimate.variance[1:].min()


def test_a_judge_that_errs_in_nothing_seen_still_has_an_error() -> None:
    labels = np.repeat([0, 1], 20)
    confusion = Confusion.of(np.eye(2)[labels], labels, (0, 1))
    assert np.sqrt(confusion.errors[1, 1, 1]) == pytest.approx(np.sqrt(22 / 24 * 2 / 24 / 24))


def test_a_judge_that_cannot_tell_is_refused(sampled: Sampled) -> None:
    rng, labels = np.random.default_rng(sampled.seed), np.repeat([0, 1], 50)
    guesses = np.eye(2)[rng.integers(2, size=100)]
    with pytest.raises(TrainingError, match=r"must tell its classes apart .* 100 images; train it longer"):
        Confusion.of(guesses, labels, (0, 1))


def test_too_few_images_of_a_class_are_refused() -> None:
    labels = np.repeat([0, 1], [50, FEWEST - 1])
    with pytest.raises(TrainingError, match=r"at least 5 images of each class .* but got 4 of four"):
        Confusion.of(np.eye(2)[labels], labels, ("three", "four"))


def test_what_two_trials_with_one_judge_have_in_common_is_all_of_its_error() -> None:
    """By what each direction of the judge's error put into their shares; of the same shares it is the variance itself."""
    one = measured(np.random.default_rng(0), 40, 400, decides=False)
    values = one.sets[0].values[:100]
    fewer = drawn_values(4, [JointDraws((1, 2, 3), values, (100,), beside=values)], one.calibrations)
    (_, first), (_, second) = (each.calibrated(np.eye(4))[0] for each in (one, fewer))
    assert first.shares.T @ first.shares == pytest.approx(first.covariance, abs=1e-12)
    common = np.diag(first.shares.T @ second.shares)[1:] / np.sqrt(np.diag(first.covariance) * np.diag(second.covariance))[1:]
    assert (common > 0.95).all() and (common <= 1 + 1e-12).all()
    other = measured(np.random.default_rng(1), 40, 400, decides=False)
    assert one.calibrations[0].identity == fewer.calibrations[0].identity != other.calibrations[0].identity
