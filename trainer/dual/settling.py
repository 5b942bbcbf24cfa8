"""The multipliers a run settled at, and how sure they are.

The settled multipliers are their means over the last stretch of the run, a fifth of its dual steps (`DualState.tails`). Their
variance has two parts:

    batch means     the means of `BLOCKS` successive blocks scatter by v = sum_b w_b (mean_b - mean)^2 / (BLOCKS - 1), w_b the
                    block's share of the steps; neighbouring blocks correlate by phi, which widens it by (1 + phi) / (1 - phi)
    drift           what of D, the difference from the stretch before, that noise does not explain, D^2 - 2 v, times h^2

A transient that decays exponentially, by the factor r from one stretch to the next, has r / (1 - r) of D still to go (Aitken's
extrapolation); its halves within the last stretch differ by 2 r / (1 + sqrt r)^2 of D, which gives r. h is r / (1 - r), at
least 1 and at most `FARTHEST`.

Batch means: Schmeiser, Batch size effects in the analysis of simulation output, Operations Research 30(3), 1982. How often
the intervals hold is measured in tests/trainer/dual/test_settling.py.
"""

from __future__ import annotations

import numpy as np

from trainer.dual.state import BLOCKS, DualState, Tail
from trainer.problem import Vector

#: Of blocks so correlated that the stretch is hardly longer than the correlation time, no more is believed.
_CLOSEST = 0.8
#: Beyond, the ratio that tells how far it is to go is mostly noise.
FARTHEST = 4.0


def settled_multipliers(state: DualState) -> Vector:
    """The mean [m] of the multipliers over the last fifth of the run (the averaged iterate, steadier than the last one)."""
    last = state.tails[1]
    return last.multipliers / last.steps if last.steps else state.multipliers


def settled_errors(state: DualState) -> Vector:
    """The standard errors [m] of `settled_multipliers`: 0 of one that did not move, NaN where too few steps tell."""
    first, last = state.tails
    if not first.steps or not last.steps or last.counts.sum() != last.steps or not last.counts.all():
        return np.full(len(state.multipliers), np.nan)
    noise, blocks = _batch_means(last)
    drift = last.multipliers / last.steps - first.multipliers / first.steps
    ahead = _to_go(drift, blocks)
    result: Vector = np.sqrt(noise + np.maximum(0.0, drift**2 - 2.0 * noise) * ahead**2)
    return result


def _batch_means(tail: Tail) -> tuple[Vector, Vector]:
    """The variance [m] of a stretch's mean, and the means [BLOCKS, m] of its blocks."""
    means = tail.blocks / tail.counts[:, None]
    apart = means - tail.multipliers / tail.steps
    variance = (tail.counts[:, None] / tail.steps * apart**2).sum(axis=0) / (BLOCKS - 1)
    scatter = (apart**2).sum(axis=0)
    # The mean itself was fitted, which costs a correlation 1 / BLOCKS.
    correlation = (apart[1:] * apart[:-1]).sum(axis=0) / np.where(scatter > 0, scatter, 1.0) + 1.0 / BLOCKS
    correlation = np.clip(correlation, 0.0, _CLOSEST)
    return variance * (1.0 + correlation) / (1.0 - correlation), means


def _to_go(drift: Vector, blocks: Vector) -> Vector:
    """h [m]: how many times the drift between the two last stretches lies still ahead."""
    halves = blocks[BLOCKS // 2 :].mean(axis=0) - blocks[: BLOCKS // 2].mean(axis=0)
    ratio = np.clip(halves / np.where(drift == 0, 1.0, drift), 1e-9, 0.4999)
    root = 1.0 / (np.sqrt(2.0 / ratio) - 1.0)
    result: Vector = np.clip(root**2 / (1.0 - root**2), 1.0, FARTHEST)
    return result
