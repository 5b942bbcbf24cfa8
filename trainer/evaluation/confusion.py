"""Shares of classes without the bias of who judges them, and the error that they have by what is known of the judge.

With C[j, k] the mean probability that the judge gives class j on images of class k, and p [K] the shares of the classes among
samples, its mean probabilities q on the samples are C p, wherever it sees images of one class alike, held-out or sampled ("label
shift"). So p = W q with W = C^-1: of two classes by Rogan and Gladen, Am. J. Epidemiology 107, 1978; of K, and of probabilities
in place of decisions, by Lipton, Wang and Smola 2018 (arXiv 1802.03916). It is the mean over samples of W times the judge's
probabilities of each, so it has a gradient wherever the judge has one.

Both C, of n_k held-out images of each class, and q are estimates, with independent errors:

    dp = W dq - W dC p,        Cov(W dC p) = sum_k p_k^2 S_k / n_k

with S_k the covariance of W times the judge's probabilities over images of class k. Errors that are too rare to be seen would
make S_k 0, so it is taken with four images more: two judged as its own class is on average, and two as the other classes are. Of
two classes that a judge tells apart this is the variance of Agresti and Coull, The American Statistician 52, 1998.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.evaluation.drawn import JointDraws
from dualsweep.trainer.evaluation.spread import MeanSpread
from dualsweep.trainer.recipe.base import ClassName

Vector = NDArray[np.float64]
Integers = NDArray[np.int64]
#: Images of a class from which its column of C is taken, at least.
FEWEST = 5
#: C is inverted where its smallest singular value is this many times the root of the sum of all its variances: nearer to singular
#: the inverse is not linear in the error, as the variance above takes it.
CLEAR = 1.5
#: The images that stand for errors not seen: so many judged as their own class, and as many as others.
_UNSEEN = 2.0


@dataclass(frozen=True)
class Confusion:
    """What is known of a judge of K classes.

    matrix   [K, K] C: [j, k] is the mean probability of j on images of k
    weights  [K, K] its inverse W
    errors   [K, K, K] of each class k the covariance S_k / n_k of the mean of W times the probabilities
    images   how many it is known from
    """

    matrix: Vector
    weights: Vector
    errors: Vector
    images: int

    @classmethod
    def of(cls, probabilities: Vector, labels: Integers, names: Sequence[ClassName]) -> Confusion:
        """From the judge's probabilities [N, K] on images that it has not seen, and their labels [N] in 0..K-1.

        Raises:
            TrainingError: there are too few images of a class, or the judge does not tell the classes apart.
        """
        check_counts(labels, names)
        own = [probabilities[labels == label] for label in range(len(names))]
        matrix = np.stack([each.mean(0) for each in own], axis=1)
        noise = float(np.sqrt(sum(each.var(0, ddof=1).sum() / len(each) for each in own)))
        apart = float(np.linalg.svd(matrix, compute_uv=False)[-1])
        if apart <= CLEAR * max(noise, 1e-6):
            raise TrainingError(
                "a judge of shares must tell its classes apart on images that it has not seen, but got a confusion matrix whose "
                f"smallest singular value is {apart:.2g}, with an error of {noise:.2g} from {len(labels)} images; train it "
                "longer (evaluation.judge.epochs), give more labelled images, leave it more to learn from (held_out, of a judge "
                "that is trained on the data), or take another judge"
            )
        weights = np.linalg.inv(matrix)
        errors = np.stack([_of_mean(each @ weights.T, label) for label, each in enumerate(own)])
        return cls(matrix, weights, errors, len(labels))


def check_counts(labels: Integers, names: Sequence[ClassName]) -> None:
    """Raises `TrainingError` where there are too few labels [N] of a class."""
    counts = np.bincount(labels, minlength=len(names))
    if counts.min() < FEWEST:
        raise TrainingError(
            f"a judge of shares must have at least {FEWEST} images of each class by which its errors are known, but got "
            f"{counts.min()} of {names[int(counts.argmin())]}; give more labelled images, or hold out more (share.held_out)"
        )


def _of_mean(corrected: Vector, label: int) -> Vector:
    """The covariance [K, K] of the mean of `corrected` [n, K], whose expectation is the unit vector of `label`."""
    size = corrected.shape[1]
    rows = np.concatenate([corrected, np.eye(size)])
    weights = np.append(np.ones(len(corrected)), np.full(size, _UNSEEN / (size - 1)))
    weights[len(corrected) + label] = _UNSEEN
    total = weights.sum()
    away = rows - weights @ rows / total
    result: Vector = (away * weights[:, None]).T @ away / total**2
    return result


@dataclass(frozen=True)
class JudgeError:
    """The error that shares have by their judge's confusion matrix, which more samples do not lessen.

    columns       [k] the expectations' places
    labels        [k] of which class each is the share
    compositions  [k] where in `JointDraws.beside` the corrected probabilities of all classes stand, for each
    """

    columns: tuple[int, ...]
    labels: tuple[int, ...]
    compositions: tuple[slice, ...]
    confusion: Confusion

    @property
    def identity(self) -> str:
        """Names the judge by its errors: the shares of two judges look alike, whatever images these were measured on."""
        return hashlib.sha256(self.confusion.errors.astype(np.float32).tobytes()).hexdigest()[:16]

    def spread(self, rows: Vector, draws: JointDraws) -> MeanSpread:
        """What it adds to combinations `rows` [q, k] of the shares, which were taken on `draws`."""
        own = zip(self.columns, self.compositions, strict=True)
        shares = np.stack([np.clip(draws.composition(column, within), 0.0, 1.0) for column, within in own])
        labels = list(self.labels)
        errors = self.confusion.errors[:, labels][:, :, labels]
        between = np.einsum("ak,bk,kab->ab", shares, shares, errors)
        covariance, size = rows @ between @ rows.T, len(rows)
        values, vectors = np.linalg.eigh(errors)
        roots = np.einsum("kar,kr,kbr->kab", vectors, np.sqrt(np.maximum(values, 0.0)), vectors)  # of one judge the same for all
        parts = np.einsum("kra,ak->kra", roots, shares).reshape(-1, len(labels)) @ rows.T
        numbers, degrees = np.arange(len(parts)), np.full(size, np.inf)
        return MeanSpread(covariance, np.zeros(size), self.confusion.images, degrees, numbers, parts, np.zeros(size))
