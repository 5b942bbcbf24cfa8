"""Where the next trial goes: by the largest hypervolume improvement and by the widest gap, in turn.

The hypervolume improvement is what a trial on the predicted front would add to the volume that the attained points dominate;
the widest part of the band is where the front is least certain, which bounds the worst error. Either alone is fragile: gaps
send the first trials into corners, the volume ignores what is cheap.

Pending trials count with their predicted outcome, so several trials at a time go to different places.
"""

from __future__ import annotations

import itertools

import moocore
import numpy as np
from scipy.stats import qmc

from dualsweep.analysis.certified.axes import Box
from dualsweep.analysis.certified.band import band
from dualsweep.analysis.certified.observations import Observations, Vector
from dualsweep.analysis.certified.reading import read

#: The Sobol cloud's points, as a power of two; and how many budgets a hypervolume is computed for.
_CLOUD_BITS, _IMPROVEMENTS = 10, 256
#: The reference point lies this part of the box, and of the front's range, beyond the worst attained.
_BEYOND = 0.1
#: Up to this many budgets exact hypervolumes take milliseconds.
_VOLUMES_UP_TO = 5
#: Up to this many budgets the lattice of corners and middles is tried too.
_LATTICE_UP_TO = 5


def candidates(box: Box, seed: int) -> Vector:
    """Budgets [N, m] all over the box: its corners, edges and faces by their middles, and a Sobol cloud."""
    size = len(box.axes)
    units = qmc.Sobol(size, scramble=True, seed=seed).random_base2(_CLOUD_BITS)
    if size <= _LATTICE_UP_TO:
        units = np.concatenate([np.array(list(itertools.product((0.0, 0.5, 1.0), repeat=size))), units])
    return np.unique(box.to_budgets(units), axis=0)


def apart(box: Box, at: Vector, taken: Vector) -> Vector:
    """How far budgets [N, m] are from the nearest of those taken [n, m], in units of the box along the farthest axis; [N]."""
    distances = np.abs(box.to_units(at)[:, None, :] - box.to_units(taken)[None, :, :]).max(axis=2)
    nearest: Vector = np.min(distances, axis=1, initial=np.inf)
    return nearest


def place(trials: Observations, pending: Vector, box: Box, at: Vector, z: float, ideal: float, widest: bool) -> Vector:
    """The best of the budgets `at` [N, m] for the next trial, given at least one trial and pending budgets [p, m].

    By the widest reducible gap, or else by the largest hypervolume improvement; by the other, and then by distance, where
    the one says nothing. With equalities, where a looser budget is not a weaker one, volumes mean nothing; with many budgets
    they take too long.
    """
    reading = read(trials, box, np.concatenate([at, pending]), z, ideal)
    known, front = trials, reading.front[: len(at)]
    if len(pending):
        known = trials.joined(trials.predicted(pending, reading.front[len(at) :], reading.prices[len(at) :]))
    voiceless = trials.signed.any() or trials.budgets > _VOLUMES_UP_TO
    gains = np.zeros(len(at)) if voiceless else improvements(known, at, front)
    gaps = band(known, at, z, ideal).reducible
    for scores in (gaps, gains) if widest else (gains, gaps):
        if scores.max() > 0:
            return np.asarray(at[int(np.argmax(scores))])
    return np.asarray(at[int(np.argmax(apart(box, at, np.concatenate([trials.asked, pending]))))])


def improvements(trials: Observations, at: Vector, front: Vector) -> Vector:
    """Hypervolume [N] that trials right at budgets [N, m] with the objectives `front` [N] would each add to the attained points.

    In the space of budgets and objective, each scaled by its range. Of many budgets only `_IMPROVEMENTS` are tried, evenly
    over those given, for speed; the others have 0.
    """
    points = np.column_stack([trials.attained, trials.objective])
    offered = np.column_stack([at, front])
    everything = np.concatenate([points, offered])
    low, span = everything.min(axis=0), np.ptp(everything, axis=0)
    points, offered = ((each - low) / np.where(span > 0, span, 1.0) for each in (points, offered))
    reference = np.full(points.shape[1], 1.0 + _BEYOND)
    before = moocore.hypervolume(points, ref=reference)
    gains = np.zeros(len(at))
    for index in np.unique(np.linspace(0, len(at) - 1, _IMPROVEMENTS).astype(int)):
        gains[index] = moocore.hypervolume(np.vstack([points, offered[index]]), ref=reference) - before
    return np.where(gains > 1e-9, gains, 0.0)
