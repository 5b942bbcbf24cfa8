"""The Pareto front of a sweep: first what may be on it, then non-domination.

A point dominates another if it is no worse in every objective and better in one. Exact duplicates do not
dominate each other, so both stay. A point with a NaN or infinite objective is never on the front.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import moocore
import numpy as np
from numpy.typing import ArrayLike, NDArray

from dualsweep.analysis.noise import known, standard_error
from dualsweep.analysis.ties import clearly_dominated
from dualsweep.analysis.trials import Direction, SweepRecord, Trial

#: Different reasons that a note tells, and trials that it names.
_REASONS = _NAMED = 3


@dataclass(frozen=True)
class Front:
    """The front of a sweep and the order of all its trials.

    `trials` runs along the first objective from its best end. `ranks` maps each trial id to its place: 1 is
    the front, 2 the front without those, and so on through all that may be on it (`SweepRecord.admission`); those of which that
    is undecided follow, then those that may not, both by their largest violation; None stands where no order can be given.
    `least_violating` is named where no trial may be on the front, of the undecided if there are any. `note` is a sentence
    for people.

    The front is that of the values as they were measured. `tied` are trials behind it that no other is clearly better than, by
    the errors (`dualsweep.analysis.ties`), and `doubtful` those on it that another one, within errors, is.
    """

    trials: tuple[Trial, ...]
    ranks: Mapping[str, int | None]
    least_violating: Trial | None
    note: str
    tied: tuple[Trial, ...] = ()
    doubtful: tuple[Trial, ...] = ()

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the trials on the front."""
        return tuple(trial.trial_id for trial in self.trials)

    @cached_property
    def members(self) -> frozenset[str]:
        """The same ids, to ask of many trials whether they are among them."""
        return frozenset(self.ids)

    @cached_property
    def ties(self) -> frozenset[str]:
        """The ids of the trials behind the front that are not told apart from it."""
        return frozenset(trial.trial_id for trial in self.tied)


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
    """Find the front among the trials that may be on it, and order all trials."""
    directions = list(record.objectives.values())
    admitted = [trial for trial in record.trials if record.admitted(trial)]
    ranks: dict[str, int | None] = dict.fromkeys(trial.trial_id for trial in record.trials)
    on_front: list[Trial] = []
    deepest = 0
    for trial, rank in zip(admitted, domination_ranks([record.point(t) for t in admitted], directions), strict=True):
        if rank:
            ranks[trial.trial_id] = int(rank)
            deepest = max(deepest, int(rank))
        if rank == 1:
            on_front.append(trial)
    on_front.sort(key=lambda trial: (*to_minimise(record.point(trial), directions)[0], trial.trial_id))
    behind = [pair for standing in ("undecided", "violated") for pair in _by_violation(record, standing)]
    ranks |= _ranked(behind, deepest, record)
    least = behind[0][1] if behind and not admitted else None
    tied, doubtful = _within_errors(record, on_front, admitted)
    note = _note(record, on_front, admitted, least) + _ties(on_front, tied, doubtful)
    return Front(tuple(on_front), ranks, least, note, tied, doubtful)


def _within_errors(
    record: SweepRecord, on_front: Sequence[Trial], admitted: Sequence[Trial]
) -> tuple[tuple[Trial, ...], tuple[Trial, ...]]:
    """The trials behind the front that none is clearly better than, and those on it that another one is."""
    compared = [trial for trial in admitted if all(map(math.isfinite, record.point(trial)))]
    lower = to_minimise([record.point(trial) for trial in compared], list(record.objectives.values()))
    errors = np.array([[known(standard_error(trial, name)) for name in record.objectives] for trial in compared])
    beaten = clearly_dominated(lower, errors.reshape(lower.shape))
    best = {trial.trial_id for trial in on_front}
    clearly = {trial.trial_id for trial, each in zip(compared, beaten, strict=True) if each}
    tied = tuple(trial for trial in compared if trial.trial_id not in best | clearly)
    return tied, tuple(trial for trial in on_front if trial.trial_id in clearly)


def _ties(on_front: Sequence[Trial], tied: Sequence[Trial], doubtful: Sequence[Trial]) -> str:
    """What the errors leave open of the front, as sentences after its own."""
    text = ""
    if tied:
        it = f"trial {on_front[0].trial_id}, the best" if len(on_front) == 1 else "it"
        text = f" A tie within errors: {named(tied)} {'is' if len(tied) == 1 else 'are'} not told apart from {it}."
    if doubtful:
        one = len(doubtful) == 1
        text += f" {named(doubtful)} {'is' if one else 'are'} on it by less than the errors."
    return text


def named(trials: Sequence[Trial]) -> str:
    """`0003`, `0003 and 0004`, `0003, 0004 and 5 more`."""
    ids = [trial.trial_id for trial in trials]
    shown = ids if len(ids) <= _NAMED else [*ids[: _NAMED - 1], f"{len(ids) - _NAMED + 1} more"]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def _by_violation(record: SweepRecord, standing: str) -> list[tuple[float, Trial]]:
    known = [(record.violation(trial), trial) for trial in record.trials if record.admission(trial) == standing]
    finite = [pair for pair in known if math.isfinite(pair[0])]
    return sorted(finite, key=lambda pair: (pair[0], pair[1].trial_id))


def _ranked(behind: Sequence[tuple[float, Trial]], deepest: int, record: SweepRecord) -> dict[str, int]:
    """The places of trials in this order, behind the deepest; those alike in standing and violation share one."""
    steps = list(dict.fromkeys((record.admission(trial), violation) for violation, trial in behind))
    places = {step: deepest + 1 + place for place, step in enumerate(steps)}
    return {trial.trial_id: places[record.admission(trial), violation] for violation, trial in behind}


def _note(record: SweepRecord, on_front: Sequence[Trial], admitted: Sequence[Trial], least: Trial | None) -> str:
    total = len(record.trials)
    if not total:
        return "No trial of the sweep has ended yet, so there is no front."
    if broken := _broken(record):
        return broken
    if on_front:
        are = "is" if len(on_front) == 1 else "are"
        return f"{len(on_front)} of {total} trials {are} on the front; {_said(record, on_front, admitted)}."
    if admitted:
        missing = [name for name in record.objectives if not any(math.isfinite(trial.metric(name)) for trial in admitted)]
        what = f"none of them has a finite {', '.join(missing)}" if missing else "none of them has all objectives finite"
        return f"{_said(record, on_front, admitted)} of {total} trials, but {what}: no front."
    if least is None:
        return f"None of {total} trials is known to be feasible and no violation is known{_others(record)}: no front."
    none = f"None of {total} trials is known to be feasible, so there is no front{_others(record)}. Trial {least.trial_id}"
    if record.admission(least) == "undecided":
        return f"{none} is the nearest of the undecided: more draws (feasibility.draws) tell whether it is feasible."
    if gave_up := ended_infeasible(least):
        why = "in training a multiplier was at its limit with its constraint violated, so it did not settle there"
        remedy = "Give it a higher dual.cap, where that was the limit, or a smaller dual step size."
        return f"{none} {gave_up}: {why}, and it may not be on the front. {remedy}"
    return f"{none} violates least, by {record.violation(least):.4g}: give it more budget, more steps or a larger dual step size."


def ended_infeasible(trial: Trial) -> str:
    """Says so of a trial that ended as infeasible though its delivered weights violate nothing; empty of any other."""
    if trial.status != "infeasible" or trial.standing not in ("met", "undecided"):
        return ""
    values = "meet the budgets" if trial.standing == "met" else "are not known to violate a budget"
    return f"ended as infeasible, although its final values {values}"


def _broken(record: SweepRecord) -> str:
    """How many trials failed and why, where none did anything else; the reasons from the most to the least frequent."""
    failed = [trial for trial in record.trials if trial.status in ("failed", "diverged")]
    if len(failed) < len(record.trials):
        return ""
    reasons = Counter(trial.reason or "no reason is known" for trial in failed).most_common(_REASONS)
    told = "; ".join(reason if count == len(failed) else f"{count} x {reason}" for reason, count in reasons)
    return f"{len(failed)} of {len(record.trials)} trials failed, so there is no front: {told}"


def _said(record: SweepRecord, on_front: Sequence[Trial], admitted: Sequence[Trial]) -> str:
    """How many may be on the front and why, and what there is of others."""
    if record.required is None:
        return f"{len(admitted)} feasible{_others(record)}"
    one = len(admitted) == 1
    kept = f"keep{'s' * one} the budgets that are fixed" if record.required else f"count{'s' * one} by what was attained"
    missed = sum(trial.standing == "violated" for trial in on_front)
    asked = f"; {missed} on it missed the budget given" if missed else ""
    return f"{len(admitted)} {kept}{asked}{_others(record)}"


def _others(record: SweepRecord) -> str:
    undecided = sum(record.admission(trial) == "undecided" for trial in record.trials)
    stopped = sum(trial.status == "stopped" for trial in record.trials)
    counts = ((undecided, "undecided"), (stopped, "stopped early"))
    return "".join(f"; {count} {word}" for count, word in counts if count)
