"""Which rows are trained on: the held-out part is drawn first, class by class, then each class is thinned to its share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dualsweep.trainer.config.diagnostics import Keys
from dualsweep.trainer.data.class_names import find
from dualsweep.trainer.data.examples import Examples, Integers
from dualsweep.trainer.data.faults import BadDataError, nothing_to_train_on, unknown_class, without_labels
from dualsweep.trainer.data.portions import portion, stays
from dualsweep.trainer.recipe.base import ClassName
from dualsweep.trainer.recipe.data import Data
from dualsweep.trainer.rng import Stream, generator


@dataclass(frozen=True)
class Split:
    """A data set and its parts, each as sorted rows of `examples`.

    train               [n] trained on: what `holdout` and `keep` leave; the distribution q of the objective
    held_out            never trained on, all classes as they are in the data; empty without `holdout`
    held_out_objective  `held_out`, thinned to the same shares as `train`: q again, for the held-out objective
    removed             neither: what `keep` takes from the part that is not held out
    shares              [K] the share of each class that is kept
    ranks               [N] each row's place in the random order of its class, which decides what is kept
    holdout, seed       what the parts were drawn with
    """

    examples: Examples
    train: Integers
    held_out: Integers
    held_out_objective: Integers
    removed: Integers
    shares: NDArray[np.float64]
    ranks: Integers
    holdout: float
    seed: int


def split(examples: Examples, data: Data, seed: int) -> Split:
    """Draws the parts; the same for the same data, seed and shares, on any machine.

    Of a class of n, `stays(n, holdout)` are trained on or thinned away and the rest is held out; then each part keeps
    `portion(count, share)` of the class. All along one random order of the class: a larger share keeps what a smaller one did.

    Raises:
        BadDataError: `keep` names a class that is not there, or leaves nothing to train on.
    """
    labels = _labels(examples)
    shares = _shares(examples, data.keep)
    ranks, held = draw_held_out(labels, data.holdout, seed)
    everything = np.arange(len(examples), dtype=np.int64)
    stay, held_out = everything[~held], everything[held]
    train = thin(stay, labels, ranks, shares)
    if not len(train):
        raise BadDataError(nothing_to_train_on(data.keep))
    thinned = thin(held_out, labels, ranks, shares)
    removed = np.setdiff1d(stay, train, assume_unique=True)
    return Split(examples, train, held_out, thinned, removed, shares, ranks, data.holdout, seed)


def draw_held_out(labels: Integers, holdout: float, seed: int) -> tuple[Integers, NDArray[np.bool_]]:
    """A random order of each class, as ranks [N] from 0, and which rows [N] are held out: the last ranks of each class."""
    ranks = np.empty(len(labels), dtype=np.int64)
    held = np.zeros(len(labels), dtype=np.bool_)
    for label, rows in enumerate(_by_class(labels)):
        ranks[rows] = generator(seed, Stream.SPLIT, label).permutation(len(rows))
        held[rows] = ranks[rows] >= stays(len(rows), holdout)
    return ranks, held


def thin(rows: Integers, labels: Integers, ranks: Integers, shares: NDArray[np.float64]) -> Integers:
    """The rows that stay of each class k: the first `portion(count, shares[k])` of its rows by rank; sorted."""
    kept = [np.empty(0, dtype=np.int64)]
    for label, places in enumerate(_by_class(labels[rows])):
        mine = rows[places]
        kept.append(mine[np.argsort(ranks[mine])][: portion(len(mine), float(shares[label]))])
    return np.sort(np.concatenate(kept))


def label_of(name: ClassName, examples: Examples, keys: Keys) -> int:
    """The label of a class that a recipe names.

    Raises:
        BadDataError: the data has no labels, or no such class.
    """
    if examples.labels is None:
        raise BadDataError(without_labels(keys, name))
    label = find(name, examples.class_names)
    if label is None:
        raise BadDataError(unknown_class(keys, name, examples.class_names))
    return label


def _shares(examples: Examples, keep: dict[ClassName, float]) -> NDArray[np.float64]:
    shares = np.ones(max(len(examples.class_names), 1))
    for name, share in keep.items():
        shares[label_of(name, examples, ("data", "keep", name))] = share
    return shares


def _labels(examples: Examples) -> Integers:
    """Labels [N]; data without any is one class."""
    return np.zeros(len(examples), dtype=np.int64) if examples.labels is None else examples.labels


def _by_class(labels: Integers) -> list[Integers]:
    """The positions of each label 0, 1, …, sorted: one pass however many classes there are."""
    if not len(labels):
        return []
    ends = np.cumsum(np.bincount(labels))
    return np.split(np.argsort(labels, kind="stable").astype(np.int64), ends[:-1])
