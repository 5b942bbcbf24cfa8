"""Does the model copy its training images?

Distances are root mean squares per pixel. A sample counts as a copy after Alaa et al. 2022, *How Faithful is your Synthetic
Data?* (arXiv 2102.08921, authenticity): it lies no farther from its nearest training image than that image lies from its
nearest other training image. A training image met twice is its own copy, so samples equal to it count as well.

An honest sampler's copied share is far from zero (fresh data of the same distribution are often so near), so the same is
measured for images the model never saw: held-out ones where there are any, else training images, each left out in turn.
Copying shows as distances well below the reference's and a copied share well above its share.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from dualsweep.trainer.evaluation.evidence import Evidence, NotMeasured
from dualsweep.trainer.evaluation.images import Integers, Rows
from dualsweep.trainer.rng import Stream, generator

CELLS = 2**24  # numbers held at once: 128 MiB of float64
LOW = 0.05
FEWEST = 3  # leaving one out, its neighbour must still have another


@dataclass(frozen=True)
class Neighbours:
    """How near M images lie to the training images: distance [M] to the nearest (RMS per pixel), its position [M]."""

    distance: NDArray[np.float64]
    position: Integers


@dataclass(frozen=True)
class Nearness:
    """Which of M images are copies: distances [M] to their nearest training images, and whether each counts as a copy [M]."""

    distance: NDArray[np.float64]
    copied: NDArray[np.bool_]


def copying(evidence: Evidence) -> dict[str, float]:
    """`nearest_distance` (the mean), `nearest_distance_q05` (its 5 % quantile) and `copied_share` of the samples, and each of
    them with `_reference` for as many held-out or left-out images, at most.

    Raises:
        NotMeasured: fewer than 3 training images.
    """
    training = evidence.training
    if len(training) < FEWEST:
        raise NotMeasured(f"it needs at least {FEWEST} training images, and there are {len(training)}")
    return {**_summary(examine(evidence.samples, training), ""), **_summary(_reference(evidence), "_reference")}


def _summary(near: Nearness, suffix: str) -> dict[str, float]:
    return {
        f"nearest_distance{suffix}": float(near.distance.mean()),
        f"nearest_distance{suffix}_q05": float(np.quantile(near.distance, LOW)),
        f"copied_share{suffix}": float(near.copied.mean()),
    }


def _reference(evidence: Evidence) -> Nearness:
    held_out = evidence.held_out
    if held_out is not None and len(held_out):
        return examine(held_out.at(_some(len(held_out), len(evidence.samples))), evidence.training)
    own = _some(len(evidence.training), len(evidence.samples))
    return examine(evidence.training.at(own), evidence.training, own)


def _some(total: int, count: int) -> Integers:
    """`count` positions of `total`, or all, in order. The same for every run, so that trials share one reference."""
    return np.sort(generator(0, Stream.EVALUATION).permutation(total)[:count])


def examine(images: torch.Tensor, training: Rows, own: Integers | None = None) -> Nearness:
    """How near images [M, *shape] come to the training images; `own` [M] says which training image each of them is, and leaves it
    out."""
    left_out = np.empty((len(images), 0), dtype=np.int64) if own is None else own[:, None]
    neighbours = nearest(images, training, left_out)
    others = nearest(training.at(neighbours.position), training, np.column_stack([left_out, neighbours.position]))
    return Nearness(neighbours.distance, neighbours.distance <= others.distance)


def nearest(images: torch.Tensor, training: Rows, left_out: Integers) -> Neighbours:
    """The nearest training image of each of images [M, *shape], but for the positions `left_out` [M, any] of each."""
    queries = images.detach().cpu().flatten(1).double()
    best = torch.full((len(queries),), torch.inf, dtype=torch.float64)
    position = torch.zeros(len(queries), dtype=torch.int64)
    skipped = torch.from_numpy(left_out)
    size = max(1, CELLS // max(len(queries), queries.shape[1]))
    start = 0
    for chunk in training.chunks(size):
        rows = chunk.cpu().flatten(1).double()
        # |q|^2 is the same for every row: it does not change which is nearest.
        apart = rows.square().sum(dim=1) - 2.0 * queries @ rows.T
        query, column = torch.nonzero((skipped >= start) & (skipped < start + len(rows)), as_tuple=True)
        apart[query, skipped[query, column] - start] = torch.inf
        value, index = apart.min(dim=1)
        nearer = value < best
        best, position = torch.where(nearer, value, best), torch.where(nearer, index + start, position)
        start += len(rows)
    # Once more, without cancellation: a copy's distance is exactly zero.
    chosen = training.at(position.numpy()).cpu().flatten(1).double()
    distance = (queries - chosen).square().mean(dim=1).sqrt()
    return Neighbours(distance.numpy(), position.numpy())
