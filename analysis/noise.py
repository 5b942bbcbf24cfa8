"""How sure a trial's numbers are."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dualsweep.analysis.trials import Trial
from dualsweep.trainer.metric_names import SUFFIXES, beside
from dualsweep.trainer.result import SETTLED

#: Half a 95 % interval in standard errors.
_HALF_WIDTH = 1.96
#: Two trials are told apart where an objective differs by more than this many standard errors of the difference.
APART = 2.0


def standard_error(trial: Trial, metric: str) -> float:
    """Return the standard error of a trial's metric, NaN where nothing tells it.

    Replicates tell it of every metric (half a 95 % interval); a single run only of its objective, values,
    slacks (the worst among them), multipliers, class shares and Fréchet distance, and without what another seed
    would change. Where it tells an interval only, it is that of a normal distribution as wide.
    """
    half = trial.intervals.get(metric, math.nan)
    if not math.isnan(half):
        return half / _HALF_WIDTH
    told = _told(trial, metric)
    if not math.isnan(told) or metric == "objective":
        return told
    if metric == "worst slack":
        return min(trial.constraints, key=lambda outcome: outcome.room).slack_error if trial.constraints else math.nan
    quantity, _, name = metric.partition("/")
    if quantity == "value" and name == "max":
        values = {outcome.value: outcome for outcome in trial.constraints if math.isfinite(outcome.value)}
        return values[max(values)].slack_error if values else math.nan
    constraint = next((outcome for outcome in trial.constraints if outcome.name == name), None)
    if constraint is None:
        return math.nan
    return {"value": constraint.slack_error, "slack": constraint.slack_error, "multiplier": constraint.multiplier_error}.get(
        quantity, math.nan
    )


def _told(trial: Trial, metric: str) -> float:
    """Return what the error of a metric, or else its interval, tells; NaN where it has neither."""
    error, low, high = (trial.metric(beside(metric, suffix)) for suffix in SUFFIXES)
    return error if not math.isnan(error) else (high - low) / (2 * _HALF_WIDTH)


def half_width(trial: Trial, metric: str) -> float:
    """Return half of the 95 % interval of a trial's metric: its own, else a normal distribution's; NaN where nothing tells."""
    half = trial.intervals.get(metric, math.nan)
    return _HALF_WIDTH * standard_error(trial, metric) if math.isnan(half) else half


def known(error: float) -> float:
    """Return an error, 0 where it is not known."""
    return error if math.isfinite(error) else 0.0


def multiplier_errors(measured: ArrayLike, multipliers: ArrayLike) -> NDArray[np.float64]:
    """Return the standard errors [n, K] of multipliers [n, K]: as measured, else what a run must have to count as settled.

    The latter is a part of a trial's largest multiplier; a multiplier of 0, which the projection holds there, is exact.
    """
    known_errors, prices = np.asarray(measured, dtype=np.float64), np.asarray(multipliers, dtype=np.float64)
    settled = SETTLED * np.abs(prices).max(axis=1, initial=0.0, keepdims=True) * (prices != 0)
    found: NDArray[np.float64] = np.where(np.isfinite(known_errors), known_errors, settled)
    return found
