"""The hypervolume that a front dominates: one number for how good a sweep's trade-offs are.

The volume lies between the front and a reference point that is worse than it in every objective, in the
product of the objectives' units. Values of two sweeps compare only at the same reference point.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import moocore
import numpy as np
from numpy.typing import ArrayLike, NDArray

from dualsweep.analysis.errors import ReviewError
from dualsweep.analysis.front import to_minimise
from dualsweep.analysis.trials import Direction, SweepRecord

#: The exact algorithm's time grows as n^(objectives - 2): 0.1 s for 200 points in 6 objectives, 4 s in 7.
EXACT_UP_TO = 6
#: A history asks for one hypervolume a trial, so it stops earlier: 4 objectives still cost n² at most.
HISTORY_UP_TO = 4


def hypervolume(points: ArrayLike, directions: Sequence[Direction], reference: Sequence[float]) -> float:
    """Return the hypervolume of points [n, objectives] against a reference point [objectives].

    Non-finite points and points no better than the reference in some objective add nothing; no points give
    0. Exact for up to 6 objectives, beyond that approximated by deterministic quasi-random directions.

    Raises:
        ReviewError: the reference point is not one finite number an objective.
    """
    worst = _checked_reference(reference, directions)
    lower = to_minimise(points, directions)
    lower = lower[np.isfinite(lower).all(axis=1)]
    lower = lower[(lower < worst).all(axis=1)]
    if not len(lower):
        return 0.0
    lower = moocore.filter_dominated(lower)
    if lower.shape[1] > EXACT_UP_TO:
        return float(moocore.hv_approx(lower, ref=worst))
    return float(moocore.hypervolume(lower, ref=worst))


def about(record: SweepRecord) -> str:
    """Words before a hypervolume that is not exact; none before one that is."""
    return "" if len(record.objectives) <= EXACT_UP_TO else f"(estimated, of more than {EXACT_UP_TO} objectives) about "


def _checked_reference(reference: Sequence[float], directions: Sequence[Direction]) -> NDArray[np.float64]:
    if len(reference) != len(directions) or not all(map(math.isfinite, reference)):
        raise ReviewError(
            f"A reference point must have one finite number for each of the {len(directions)} objectives, "
            f"but got {list(reference)}. Correct it, or leave it out to have one chosen from the trials."
        )
    worst: NDArray[np.float64] = to_minimise(reference, directions)[0]
    return worst


def default_reference_point(points: ArrayLike, directions: Sequence[Direction]) -> tuple[float, ...] | None:
    """Choose a reference point [objectives] from the points [n, objectives] of trials that may be on the front.

    In each objective it is the worst value plus 10 % of the range over the finite points, in the bad
    direction; where the range is 0, plus 10 % of |value|, or 0.1 where the value is 0 too. The same points
    give the same reference point. None where no point is finite.
    """
    lower = to_minimise(points, directions)
    lower = lower[np.isfinite(lower).all(axis=1)]
    if not len(lower):
        return None
    worst, spread = lower.max(axis=0), np.ptp(lower, axis=0)
    margin = 0.1 * np.where(spread > 0, spread, np.where(worst != 0, np.abs(worst), 1.0))
    return tuple(float(value) for value in to_minimise(worst + margin, directions)[0])


def reference_point_of(record: SweepRecord) -> tuple[float, ...] | None:
    """Return the sweep's own reference point, or else the default one; None where no trial may be on the front."""
    if record.reference_point is not None:
        return record.reference_point
    admitted = [record.point(trial) for trial in record.trials if record.admitted(trial)]
    return default_reference_point(admitted, list(record.objectives.values()))


def hypervolume_history(record: SweepRecord) -> tuple[float, ...]:
    """Return the hypervolume [trials] of those that may be on the front among the first k trials, for k = 1, 2, …

    All against the final reference point, so the history never falls. Empty where there is no reference
    point, or with more than 4 objectives, where a volume for each trial would take too long.
    """
    reference = reference_point_of(record)
    directions = list(record.objectives.values())
    if reference is None or len(directions) > HISTORY_UP_TO:
        return ()
    worst = _checked_reference(reference, directions)
    kept = np.empty((0, len(directions)))
    volume, history = 0.0, []
    for trial in record.trials:
        point = to_minimise(record.point(trial), directions)[0]
        useful = record.admitted(trial) and np.isfinite(point).all() and (point < worst).all()
        if useful and not (kept <= point).all(axis=1).any():
            kept = moocore.filter_dominated(np.vstack([kept, point]))
            volume = float(moocore.hypervolume(kept, ref=worst))
        history.append(volume)
    return tuple(history)
