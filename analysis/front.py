"""The Pareto front of a sweep: feasible first, then non-domination.

A point dominates another if it is no worse in every objective and better in one. Exact duplicates do not
dominate each other, so both stay. A point with a NaN or infinite objective is never on the front.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import moocore
import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.trials import Direction, SweepRecord, Trial

#: Different reasons that a note tells.
_REASONS = 3


@dataclass(frozen=True)
class Front:
    """The front of a sweep and the order of all its trials.

    `trials` runs along the first objective from its best end. `ranks` maps each trial id to its place: 1 is
    the front, 2 the front without those, and so on through the feasible; the infeasible follow by their
    largest violation; None stands where no order can be given. `least_violating` is named where no trial
    is feasible. `note` is a sentence for people.
    """

    trials: tuple[Trial, ...]
    ranks: Mapping[str, int | None]
    least_violating: Trial | None
    note: str

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the trials on the front."""
        return tuple(trial.trial_id for trial in self.trials)


def to_minimise(points: ArrayLike, directions: Sequence[Direction]) -> NDArray[np.float64]:
    """Return points [n, objectives] with the maximised columns negated, so that less is better everywhere."""
    signs = [-1.0 if direction == "maximize" else 1.0 for direction in directions]
    lower: NDArray[np.float64] = np.asarray(points, dtype=np.float64).reshape(-1, len(directions)) * np.asarray(signs)
    return lower


def non_dominated(points: ArrayLike, directions: Sequence[Direction]) -> NDArray[np.bool_]:
    """Say which of the points [n, objectives] no other dominates; False for every non-finite point."""
    best: NDArray[np.bool_] = domination_ranks(points, directions) == 1
    return best


def domination_ranks(points: ArrayLike, directions: Sequence[Direction]) -> NDArray[np.int64]:
    """Return the non-domination rank [n] of the points [n, objectives]: 1 is best, 0 where non-finite."""
    lower = to_minimise(points, directions)
    ranks = np.zeros(len(lower), dtype=np.int64)
    finite = np.isfinite(lower).all(axis=1)
    if finite.any():
        ranks[finite] = moocore.pareto_rank(lower[finite]) + 1
    return ranks


def find_front(record: SweepRecord) -> Front:
    """Find the front among the feasible trials, and order all trials."""
    directions = list(record.objectives.values())
    feasible = [trial for trial in record.trials if trial.feasible]
    ranks: dict[str, int | None] = dict.fromkeys(trial.trial_id for trial in record.trials)
    on_front: list[Trial] = []
    deepest = 0
    for trial, rank in zip(feasible, domination_ranks([record.point(t) for t in feasible], directions), strict=True):
        if rank:
            ranks[trial.trial_id] = int(rank)
            deepest = max(deepest, int(rank))
        if rank == 1:
            on_front.append(trial)
    on_front.sort(key=lambda trial: (*to_minimise(record.point(trial), directions)[0], trial.trial_id))
    infeasible = _by_violation(record.trials)
    steps = sorted({violation for violation, _ in infeasible})
    for violation, trial in infeasible:
        ranks[trial.trial_id] = deepest + 1 + bisect_left(steps, violation)
    least = infeasible[0][1] if infeasible and not feasible else None
    return Front(tuple(on_front), ranks, least, _note(record, on_front, feasible, least))


def _by_violation(trials: Sequence[Trial]) -> list[tuple[float, Trial]]:
    known = [(trial.violation, trial) for trial in trials if trial.feasible is False]
    finite = [pair for pair in known if math.isfinite(pair[0])]
    return sorted(finite, key=lambda pair: (pair[0], pair[1].trial_id))


def _note(record: SweepRecord, on_front: Sequence[Trial], feasible: Sequence[Trial], least: Trial | None) -> str:
    total = len(record.trials)
    if not total:
        return "The sweep has no trials yet, so there is no front."
    if broken := _broken(record):
        return broken
    if on_front:
        are = "is" if len(on_front) == 1 else "are"
        return f"{len(on_front)} of {total} trials {are} on the front; {len(feasible)} feasible{_stopped(record)}."
    if feasible:
        return f"{len(feasible)} of {total} trials are feasible, but none has finite objectives: no front."
    if least is None:
        return f"None of {total} trials is known to be feasible and no violation is known{_stopped(record)}: no front."
    return (
        f"None of {total} trials is feasible, so there is no front. Trial {least.trial_id} violates least, "
        f"by {least.violation:.4g}: give it more budget, more steps or a larger dual step size."
    )


def _broken(record: SweepRecord) -> str:
    """How many trials failed and why, where none did anything else; the reasons from the most to the least frequent."""
    failed = [trial for trial in record.trials if trial.status in ("failed", "diverged")]
    if len(failed) < len(record.trials):
        return ""
    reasons = Counter(trial.reason or "no reason is known" for trial in failed).most_common(_REASONS)
    told = "; ".join(reason if count == len(failed) else f"{count} x {reason}" for reason, count in reasons)
    return f"{len(failed)} of {len(record.trials)} trials failed, so there is no front: {told}"


def _stopped(record: SweepRecord) -> str:
    count = sum(trial.status == "stopped" for trial in record.trials)
    return f"; {count} stopped early" if count else ""
