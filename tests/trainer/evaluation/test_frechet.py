from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import scipy.linalg

from dualsweep.trainer.data.examples import InMemory
from dualsweep.trainer.evaluation.evidence import Evidence, NotMeasured
from dualsweep.trainer.evaluation.images import Rows
from dualsweep.trainer.evaluation.jackknife import jackknifed
from dualsweep.trainer.evaluation.judge import ConvJudge
from dualsweep.trainer.evaluation.shipped.frechet import between_gaussians, distance, frechet, to_gaussian
from tests.margins import Sampled


def _covariance(source: np.random.Generator, size: int, rank: int) -> np.ndarray:
    root = source.standard_normal((size, rank))
    return np.asarray(root @ root.T)


def test_one_dimension_has_a_closed_form() -> None:
    """d^2 = (m1 - m2)^2 + (s1 - s2)^2."""
    result = between_gaussians(np.array([1.0]), np.array([[4.0]]), np.array([-2.0]), np.array([[0.25]]))
    assert result == pytest.approx(9.0 + 1.5**2)


def test_commuting_covariances_have_a_closed_form() -> None:
    """With one set of eigenvectors, d^2 = |m1 - m2|^2 + sum_k (sqrt(a_k) - sqrt(b_k))^2."""
    source = np.random.default_rng(0)
    vectors = np.linalg.qr(source.standard_normal((5, 5)))[0]
    a, b = source.uniform(0.1, 3.0, 5), source.uniform(0.1, 3.0, 5)
    means = source.standard_normal((2, 5))
    result = between_gaussians(means[0], vectors @ np.diag(a) @ vectors.T, means[1], vectors @ np.diag(b) @ vectors.T)
    assert result == pytest.approx(((means[0] - means[1]) ** 2).sum() + ((np.sqrt(a) - np.sqrt(b)) ** 2).sum())


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_scipy_square_root(seed: int) -> None:
    source = np.random.default_rng(seed)
    first, second = _covariance(source, 8, 12), _covariance(source, 8, 12)
    means = source.standard_normal((2, 8))
    root = scipy.linalg.sqrtm(first @ second).real
    expected = ((means[0] - means[1]) ** 2).sum() + np.trace(first + second - 2.0 * root)
    assert between_gaussians(means[0], first, means[1], second) == pytest.approx(expected)
    assert between_gaussians(means[1], second, means[0], first) == pytest.approx(expected)  # symmetric


def test_singular_covariances_do_no_harm() -> None:
    """Projections onto one line are the one-dimensional case, whatever the space around it."""
    line = np.full((6, 1), 1.0 / np.sqrt(6.0))
    result = between_gaussians(np.zeros(6), 4.0 * line @ line.T, np.zeros(6), 9.0 * line @ line.T)
    assert result == pytest.approx(1.0)


def test_features_are_fitted_by_mean_and_unbiased_covariance() -> None:
    source = np.random.default_rng(1)
    first, second = source.standard_normal((40, 3)), source.standard_normal((25, 3)) * 2.0 + 1.0
    expected = between_gaussians(first.mean(0), np.cov(first.T), second.mean(0), np.cov(second.T))
    assert distance(first, second) == pytest.approx(expected)
    assert distance(first, first) == pytest.approx(0.0, abs=1e-9)


def test_fewer_images_than_features() -> None:
    source = np.random.default_rng(2)
    assert np.isfinite(distance(source.standard_normal((4, 32)), source.standard_normal((500, 32))))


def test_too_few_images_and_unequal_widths_are_refused() -> None:
    with pytest.raises(ValueError, match=r"at least 2 images.*got 1; give more"):
        distance(np.zeros((1, 3)), np.zeros((5, 3)))
    with pytest.raises(ValueError, match="one width, but got 3 and 4"):
        distance(np.zeros((5, 3)), np.zeros((5, 4)))


def test_a_distance_is_unbiased_and_its_error_covers(sampled: Sampled) -> None:
    """Of two Gaussians in 8 features, |m|^2 + 8 (sqrt(1.2) - 1)^2; at 0 the interval covers."""
    rng, reference = np.random.default_rng(sampled.seed), (np.zeros(8), np.eye(8), np.eye(8))
    far, near = [], []
    for _ in range(110):
        noise = rng.standard_normal((203, 8))
        far.append(jackknifed(partial(to_gaussian, *reference), 0.3 + np.sqrt(1.2) * noise))
        near.append(jackknifed(partial(to_gaussian, *reference), noise))
    (distances, errors), (zero, its_errors) = np.array(far).T, np.array(near).T
    exact = 8 * 0.09 + 8 * (np.sqrt(1.2) - 1) ** 2
    z = (distances - exact) / errors
    sampled.near("mean z", z.mean(), 0.0, abs=0.65)
    sampled.near("sd of z", z.std(ddof=1), 1.0, abs=0.42)
    sampled.at_least("covered at 0", np.mean(zero <= 1.96 * its_errors), 0.9)


def test_the_plain_formula_is_far_off_where_the_corrected_is_not(sampled: Sampled) -> None:
    """64 features, 500 samples: the bias is 20 errors."""
    rng, exact = np.random.default_rng(sampled.seed), 64 * 0.01 + 64 * (np.sqrt(1.2) - 1) ** 2
    samples = 0.1 + np.sqrt(1.2) * rng.standard_normal((500, 64))
    reference = (np.zeros(64), np.eye(64), np.eye(64))
    corrected, error = jackknifed(partial(to_gaussian, *reference), samples)
    plain = between_gaussians(samples.mean(0), np.cov(samples.T), *reference[:2])
    sampled.near("corrected", corrected, exact, abs=0.7)
    sampled.near("error", error, 0.124, abs=0.07)
    sampled.at_least("plain", plain, exact + 1.5)


def test_thinned_classes_cost_distance(digits: InMemory, judge: ConvJudge, sampled: Sampled) -> None:
    """The reference is all the data: half of it at random is near, half of it without three classes is far."""
    assert digits.labels is not None
    everything, half = Rows(digits, np.arange(len(digits))), np.random.default_rng(sampled.seed).permutation(len(digits))[:900]
    fair = digits.fetch(half)
    thinned = digits.fetch(half[~np.isin(digits.labels[half], [4, 5, 7])])
    near, far = (
        frechet(Evidence(x, everything, everything, None, judge, digits.class_names))["frechet"] for x in (fair, thinned)
    )
    sampled.at_most("distance of a half", near, 0.5)
    sampled.at_least("distance without three classes", far, 2.0)


def test_one_sample_has_no_distance(digits: InMemory, judge: ConvJudge) -> None:
    rows = Rows(digits, np.arange(10))
    with pytest.raises(NotMeasured, match=r"there are 1; raise evaluation\.samples"):
        frechet(Evidence(digits.images[:1], rows, rows, None, judge, digits.class_names))


def test_without_a_judge_there_is_no_distance(digits: InMemory) -> None:
    rows = Rows(digits, np.arange(10))
    with pytest.raises(NotMeasured, match=r"no labels.*evaluation\.judge\.call"):
        frechet(Evidence(digits.images[:10], rows, rows, None, None, ()))
