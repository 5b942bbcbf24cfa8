"""Does the model copy its training images?

Distances are root mean squares per pixel. A sample counts as a copy after Alaa et al. 2022, *How Faithful is your Synthetic
Data?* (arXiv 2102.08921, authenticity): it lies no farther from its nearest training image than that image lies from its
nearest other training image. A training image met twice is its own copy, so samples equal to it count as well. Where images are
trained on mirrored or shifted, the nearest is found among all that they may be trained on as, of which none is another image; of
real images such a variant each, drawn at random, is then measured.

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
from dualsweep.trainer.evaluation.variants import ALONE, Variants
from dualsweep.trainer.rng import Stream, generator

CELLS = 2**24  # numbers held at once: 128 MiB of float64
LOW = 0.05
FEWEST = 3  # leaving one out, its neighbour must still have another
#: Where images have variants, no more samples are examined than these multiplications allow, but at least so many.
WORK, FEWEST_SAMPLES = 2**41, 100


@dataclass(frozen=True)
class Neighbours:
    """How near M images lie to the training images: distance [M] to the nearest (RMS per pixel), its position [M], and what it is
    nearest as, `images` [M, *shape].
    """

    distance: NDArray[np.float64]
    position: Integers
    images: torch.Tensor


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
    training, variants = evidence.training, evidence.variants
    if len(training) < FEWEST:
        raise NotMeasured(f"it needs at least {FEWEST} training images, and there are {len(training)}")
    samples = evidence.samples
    if len(variants) > 1:
        affordable = WORK // (len(training) * len(variants) * samples[0].numel())
        samples = samples[torch.from_numpy(_some(len(samples), max(FEWEST_SAMPLES, affordable)))]
    reference = _reference(evidence, len(samples))
    return {**_summary(examine(samples, training, None, variants), ""), **_summary(reference, "_reference")}


def _summary(near: Nearness, suffix: str) -> dict[str, float]:
    return {
        f"nearest_distance{suffix}": float(near.distance.mean()),
        f"nearest_distance{suffix}_q05": float(np.quantile(near.distance, LOW)),
        f"copied_share{suffix}": float(near.copied.mean()),
    }


def _reference(evidence: Evidence, count: int) -> Nearness:
    held_out, training, variants, own = evidence.held_out, evidence.training, evidence.variants, None
    if held_out is not None and len(held_out):
        images = held_out.at(_some(len(held_out), count))
    else:
        own = _some(len(training), count)
        images = training.at(own)
    images = variants.of(images, generator(0, Stream.EVALUATION, 1).integers(len(variants), size=len(images)))
    return examine(images, training, own, variants)


def _some(total: int, count: int) -> Integers:
    """`count` positions of `total`, or all, in order. The same for every run, so that trials share one reference."""
    return np.sort(generator(0, Stream.EVALUATION).permutation(total)[:count])


def examine(images: torch.Tensor, training: Rows, own: Integers | None = None, variants: Variants = ALONE) -> Nearness:
    """How near images [M, *shape] come to the training images; `own` [M] says which training image each of them is, and leaves it
    out, with all of its variants."""
    left_out = np.empty((len(images), 0), dtype=np.int64) if own is None else own[:, None]
    neighbours = nearest(images, training, left_out, variants)
    others = nearest(neighbours.images, training, np.column_stack([left_out, neighbours.position]), variants)
    return Nearness(neighbours.distance, neighbours.distance <= others.distance)


def nearest(images: torch.Tensor, training: Rows, left_out: Integers, variants: Variants = ALONE) -> Neighbours:
    """The nearest training image of each of images [M, *shape], but for the positions `left_out` [M, any] of each."""
    queries = images.detach().cpu().flatten(1).double()
    best = torch.full((len(queries),), torch.inf, dtype=torch.float64)
    position, number = torch.zeros((2, len(queries)), dtype=torch.int64)
    skipped = torch.from_numpy(left_out)
    size = max(1, CELLS // max(len(queries), queries.shape[1]))
    start = 0
    for chunk in training.chunks(size):
        query, column = torch.nonzero((skipped >= start) & (skipped < start + len(chunk)), as_tuple=True)
        for variant in range(len(variants)):
            rows = variants.of(chunk.cpu(), np.full(len(chunk), variant)).flatten(1).double()
            # |q|^2 is the same for every row: it does not change which is nearest.
            apart = rows.square().sum(dim=1) - 2.0 * queries @ rows.T
            apart[query, skipped[query, column] - start] = torch.inf
            value, index = apart.min(dim=1)
            nearer = value < best
            best, position = torch.where(nearer, value, best), torch.where(nearer, index + start, position)
            number = torch.where(nearer, variant, number)
        start += len(chunk)
    # Once more, without cancellation: a copy's distance is exactly zero.
    chosen = variants.of(training.at(position.numpy()).cpu(), number.numpy())
    distance = (queries - chosen.flatten(1).double()).square().mean(dim=1).sqrt()
    return Neighbours(distance.numpy(), position.numpy(), chosen)
