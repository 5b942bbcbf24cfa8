"""The multipliers a run settled at, and how sure they are.

The settled multipliers are their means over the last fifth of the run's dual steps. A multiplier is taken to relax towards its
limit at a rate k, of which noise keeps it at a distance: of the means x_b of n blocks of steps, `BLOCKS` a fifth,

    x_b = limit + d exp(-k b) + noise,    noise ~ N(0, sigma^2 R(k))

with R that of the means over one block each of an Ornstein-Uhlenbeck process, which dual ascent on noisy slacks is in small
steps. Given k, generalised least squares gives the limit, its variance and sigma^2 = RSS / (n - 4) (the posterior mean); the
mean square of (settled - limit) is the fitted difference's square, the drift, and that variance, the noise. It is averaged
over k by the restricted likelihood, in which the limit and d are integrated out,

    p(k | x) ~ p(k) |R|^(-1/2) |X' R^-1 X|^(-1/2) RSS^(-(n - 2) / 2)

(Harville, Biometrika 61, 1974; for autoregressions Cheang and Reinsel, J. Am. Stat. Assoc. 95, 2000), with d in units of its
column's deviation. p(k) ~ k^0.4 is chosen so that (settled - limit) / error scatters by 1 about 0 for runs of 10 to 100
relaxation times, as measured in tests/benchmarks/coverage/prices.py.

Newton's steps shrink about the limit, so that the multipliers keep an error that their own movement no longer shows. Each step
tells where the limit is, though: its target, lambda - H^-1 s. The limit is the mean of the blocks' targets, with the error of
that mean, and the mean square of (settled - limit) is the difference's square and that error's. The secant rule's H is too
uncertain for that (two errors so told reached the limit in 55 to 100 % of runs), so nothing is told of its errors.

One that is projected to 0 now and then has a mean above its limit, at most by all of it, since the limit is 0 or more: half of it
is added, as a root of squares, so that two errors reach 0.
"""

from __future__ import annotations

import numpy as np

from dualsweep.trainer.dual.problem import Vector
from dualsweep.trainer.dual.registry import rule_of
from dualsweep.trainer.dual.state import DualState
from dualsweep.trainer.recipe.own_part import OwnPart

#: Relaxation times a block: from a run that lasts one of them to one whose blocks hardly correlate.
_RATES = np.geomspace(0.05, 10.0, 48)
#: The prior density of a rate is a power of it.
_PRIOR = 0.4
#: Fifths of the run that must be known.
_LEAST = 2
#: A multiplier whose blocks differ by no more of its size did not move.
_STILL = 1e-12


def settled_multipliers(state: DualState) -> Vector:
    """The mean [m] of the multipliers over the last fifth of the run (the averaged iterate, steadier than the last one)."""
    last = state.tails[-1]
    return last.multipliers / last.steps if last.steps else state.multipliers


def settled_errors(state: DualState, rule: str | OwnPart = "ascent") -> Vector:
    """The standard errors [m] of `settled_multipliers` of a run by a dual rule: 0 of one that did not move, NaN where too few
    steps tell, and of all that move by a rule that tells nothing of them, as the secant rule.
    """
    known = 0
    while known < len(state.tails) and state.tails[-1 - known].whole:
        known += 1
    if known < _LEAST:
        return np.full(len(state.multipliers), np.nan)
    blocks = np.concatenate([tail.blocks / tail.counts[:, None] for tail in state.tails[-known:]])
    settled, result = settled_multipliers(state), np.zeros(len(state.multipliers))
    moved = np.ptp(blocks, axis=0) > _STILL * np.abs(blocks).max(axis=0)
    told_by = rule_of(rule).settles_by
    if told_by == "nothing":
        result[moved] = np.nan
    elif told_by == "targets":
        targets = np.concatenate([tail.targets / tail.counts[:, None] for tail in state.tails[-known:]])
        result[moved] = _about(targets[:, moved], settled[moved])
    else:
        squares, weights = np.array([_at(rate, blocks[:, moved], settled[moved]) for rate in _RATES]).swapaxes(0, 1)
        weights = np.exp(weights - weights.max(axis=0))
        result[moved] = np.sqrt((weights * squares).sum(axis=0) / weights.sum(axis=0))
    projected = moved & (state.tails[-1].zeros > 0) & ~state.signed
    result[projected] = np.hypot(result, settled / 2.0)[projected]
    return result


def _about(targets: Vector, settled: Vector) -> Vector:
    """The roots of the mean squares [m] of settled less limit, by the blocks' targets [n, m]."""
    off, variance = settled - targets.mean(axis=0), targets.var(axis=0, ddof=1) / len(targets)
    result: Vector = np.sqrt(off**2 + variance)
    return result


def _at(rate: float, blocks: Vector, settled: Vector) -> tuple[Vector, Vector]:
    """At one rate, the mean squares [m] of settled less limit, and the logarithms [m] of the rate's weights."""
    count = len(blocks)
    root = np.linalg.cholesky(_correlations(rate, count))
    decay = np.exp(-rate * np.arange(count))
    design = np.linalg.solve(root, np.stack([np.ones(count), decay / decay.std()], axis=1))
    white = np.linalg.solve(root, blocks)
    inverse = np.linalg.inv(design.T @ design)
    fitted = inverse @ design.T @ white
    rest = ((white - design @ fitted) ** 2).sum(axis=0)
    freedom = count - 2
    squares = (settled - fitted[0]) ** 2 + inverse[0, 0] * rest / (freedom - 2)
    prior = (1.0 + _PRIOR) * np.log(rate)  # the rates are spaced by their logarithm
    constant = prior + 0.5 * np.linalg.slogdet(inverse)[1] - np.log(np.diag(root)).sum()
    return squares, constant - 0.5 * freedom * np.log(np.maximum(rest, np.finfo(np.float64).tiny))


def _correlations(rate: float, count: int) -> Vector:
    """R [count, count]: the covariances of the means over blocks of an Ornstein-Uhlenbeck process of variance 1."""
    apart = np.abs(np.subtract.outer(np.arange(count), np.arange(count)))
    lost = -np.expm1(-rate)
    result: Vector = np.where(apart == 0, 2.0 * (rate - lost), np.exp(-rate * (apart - 1.0)) * lost**2) / rate**2
    return result
