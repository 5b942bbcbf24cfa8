"""The rule `infeasible`: the dual trajectory says that a constraint cannot be met within the steps that are left.

Two things together say so. The slack's forecast at the last step (`forecast.py`), at its optimistic end and with what
averaging the weights may still gain, is negative by more than a slack may be and still count as met. And the multiplier
has been rising against the violation over the last half of the points, or is at its cap: the price goes up, and what it buys
is not enough. Where the multiplier has only begun to act, the slack bends upwards and its forecast has a wide upper end.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from dualsweep.sweeps.early_stopping.forecast import forecast
from dualsweep.sweeps.early_stopping.watched import AVERAGING, Bound, Watched
from dualsweep.trainer import metric_names
from dualsweep.trainer.result import Z
from dualsweep.trainer.verdicts.trend import Measured, slope
from dualsweep.trainer.verdicts.verdict import Trace


@dataclass(frozen=True)
class Shortfall:
    """A constraint that will be violated at the last step: its slack now, and at the best at the end, where `best` < 0."""

    bound: Bound
    now: Measured
    best: float
    multiplier: float


def infeasible(trial: Watched, ended: Iterable[Watched]) -> str | None:
    """Why a running trial cannot become feasible, in words; None while it may. `ended` are the sweep's other trials."""
    ended = list(ended)
    for bound in trial.bounds:
        deficit = shortfall(trial, bound, ended)
        if deficit is not None and _pressed(trial, trial.trace(bound)):
            left = trial.steps - trial.step
            price = f"while its multiplier rises ({deficit.multiplier:.3g})" if trial.moving else "and its multiplier is fixed"
            return (
                f"`{bound.name}` cannot be met within the {left} steps that are left: its slack is {deficit.now.value:+.3g} ± "
                f"{deficit.now.error:.1g}, and by its trend at best {deficit.best:+.3g} at step {trial.steps}, {price}"
            )
    return None


def shortfall(trial: Watched, bound: Bound, ended: Iterable[Watched]) -> Shortfall | None:
    """By how much a constraint will be violated at the last step, at the best; None where it may be met, or nobody knows."""
    trace = trial.trace(bound)
    ahead = forecast(trace.steps, trace.slacks, float(trial.steps), Z)
    if ahead is None:
        return None
    half = trace.errors[len(trace.errors) // 2 :]
    known = half[np.isfinite(half)]
    tolerated = Z * float(np.median(known)) if len(known) else 0.0
    gain = _gain(trial, bound, ended)
    upper = ahead.now.value + Z * (ahead.now.error if math.isfinite(ahead.now.error) else math.inf)
    missed = bound.tolerance.at(trial.now("objective").value) if bound.tolerance.amount else 0.0
    best = max(ahead.high, upper) + gain + tolerated + missed
    return Shortfall(bound, ahead.now, best, float(trace.multipliers[-1])) if best < 0 else None


def _gain(trial: Watched, bound: Bound, ended: Iterable[Watched]) -> float:
    """What the slack gains at most where the averaged weights take over from the training weights."""
    known = [each.gains[bound.name] for each in ended if bound.name in each.gains]
    if known:
        return max(0.0, *(abs(each) if bound.kind == "equals" else each for each in known))
    level = trial.now(metric_names.value(bound.name)).value
    return AVERAGING * abs(level) if math.isfinite(level) else 0.0


def _pressed(trial: Watched, trace: Trace) -> bool:
    """Whether the multiplier presses against the violation: it has risen over the last half of the points."""
    if not trial.moving:
        return True
    half = slice(len(trace.steps) // 2, None)
    steps, multipliers = trace.steps[half], trace.multipliers[half]
    at_cap = multipliers[-1] > 0 and bool(np.ptp(multipliers) <= 1e-9 * multipliers[-1])
    return at_cap or slope(steps, multipliers).above(Z)
