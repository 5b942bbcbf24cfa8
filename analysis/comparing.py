"""Several sweeps on one scale: how much hypervolume each had after how many trials, how much compute and how much time.

All are measured against one reference point. A trial that failed, was stopped or proved infeasible costs what it cost and
adds nothing. Sweeps with the same label (one sampler with several seeds) are one group, told by its median and its range.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dualsweep.analysis.errors import ReviewError
from dualsweep.analysis.hypervolume import HISTORY_UP_TO, default_reference_point, hypervolume_history
from dualsweep.analysis.trials import Direction, SweepRecord, Trial
from dualsweep.trainer import metric_names

Vector = NDArray[np.float64]
Grouping = Literal["auto", "sampler", "sweep"]
#: The part of the best hypervolume that a sweep is asked to reach.
WANTED = 0.95
#: What a sweep spends, with its unit.
AXES = {"trials": "trials", "samples": "primal steps x batch (samples)", "seconds": "training time (worker-seconds)"}
#: Trials that have not ended: what they will come to, and cost, is open.
UNFINISHED = frozenset({"running", "interrupted"})


@dataclass(frozen=True)
class Course:
    """One sweep's way: `volumes` [n] is its hypervolume after each of its n ended trials, `costs` [n] by axis what they cost.

    `costs` lacks an axis that was not recorded. `unfinished` trials are left out.
    """

    label: str
    name: str
    run_id: str
    seed: str
    volumes: tuple[float, ...]
    costs: Mapping[str, tuple[float, ...]]
    feasible: int
    unfinished: int

    @property
    def final(self) -> float:
        """The hypervolume at the end, 0 without trials."""
        return self.volumes[-1] if self.volumes else 0.0

    def spent(self, axis: str) -> float:
        """What all trials cost together."""
        return self.costs[axis][-1] if self.costs[axis] else 0.0

    def at(self, axis: str, costs: ArrayLike) -> Vector:
        """The hypervolumes [N] that the sweep had at costs [N]; from its end on it keeps what it had."""
        places = np.searchsorted(self.costs[axis], np.asarray(costs, dtype=np.float64), side="right")
        found: Vector = np.array([0.0, *self.volumes])[places]
        return found

    def cost_of(self, axis: str, volume: float) -> float:
        """What it cost to reach this hypervolume; infinite where it was never reached, or is none (0)."""
        reached = np.flatnonzero(np.asarray(self.volumes) >= volume)
        return self.costs[axis][int(reached[0])] if volume > 0 and len(reached) else math.inf


@dataclass(frozen=True)
class Group:
    """Sweeps with one label."""

    label: str
    courses: tuple[Course, ...]

    def points(self, axis: str) -> Vector:
        """Every cost [N] at which the hypervolume of one of the sweeps may change, from 0 on."""
        return np.unique([0.0, *(cost for course in self.courses for cost in course.costs[axis])])

    def spread(self, axis: str, costs: ArrayLike) -> tuple[Vector, Vector, Vector]:
        """The least, median and largest hypervolume [N] of the sweeps at costs [N]."""
        table = np.stack([course.at(axis, costs) for course in self.courses])
        return table.min(axis=0), np.median(table, axis=0), table.max(axis=0)

    def middle(self, of: Callable[[Course], float]) -> tuple[float, float, float]:
        """The least, median and largest of a number of the sweeps; the median of an even number with infinities is infinite."""
        ordered = sorted(of(course) for course in self.courses)
        half = len(ordered) // 2
        median = ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
        return ordered[0], median, ordered[-1]


@dataclass(frozen=True)
class Comparison:
    """Groups of sweeps against one reference point [objectives]; `reference_from` says in words where it comes from.

    `axes` are those that all sweeps recorded.
    """

    objectives: Mapping[str, Direction]
    reference_point: tuple[float, ...]
    reference_from: str
    groups: tuple[Group, ...]

    @property
    def courses(self) -> tuple[Course, ...]:
        return tuple(course for group in self.groups for course in group.courses)

    @property
    def best(self) -> float:
        """The largest hypervolume that any of the sweeps ended with."""
        return max(course.final for course in self.courses)

    @property
    def axes(self) -> tuple[str, ...]:
        return tuple(axis for axis in AXES if all(axis in course.costs for course in self.courses))


def compare(records: Sequence[SweepRecord], grouping: Grouping = "auto") -> Comparison:
    """Compare sweeps that have the same objectives.

    `grouping`: sweeps by one `sampler` are a group, or each `sweep` is one of its own; `auto` groups by sampler where there is
    more than one of them, and by sweep otherwise.

    Raises:
        ReviewError: fewer than two sweeps, one of them twice, other objectives, other budgets that decide, more than 4
            objectives, or nothing that may be on a front.
    """
    _check(records)
    objectives = records[0].objectives
    aligned = [replace(record, objectives=objectives, trials=_ended(record)) for record in records]
    reference, source = _reference(records, aligned)
    samplers = {record.sampler for record in records}
    by_sampler = grouping == "sampler" or (grouping == "auto" and len(samplers) > 1)
    labels = [record.sampler or "unknown sampler" for record in records] if by_sampler else _names(records)
    courses = [
        _course(label, record, len(whole.trials), replace(record, reference_point=reference))
        for label, record, whole in zip(labels, aligned, records, strict=True)
    ]
    groups = [Group(label, tuple(each for each in courses if each.label == label)) for label in dict.fromkeys(labels)]
    return Comparison(objectives, reference, source, tuple(groups))


def _check(records: Sequence[SweepRecord]) -> None:
    if len(records) < 2:
        raise ReviewError(
            f"A comparison must be of at least two sweeps, but got {len(records)}. Name more, or draw one with `dualsweep front`."
        )
    first = records[0]
    seen: dict[str, SweepRecord] = {}
    for record in records:
        if record.parent_run_id in seen:
            raise ReviewError(
                f"Each sweep must be named once, but {record.experiment_name!r} (run {record.parent_run_id}) is there twice. "
                "A name means the newest sweep of its experiment; give run ids for the others."
            )
        seen[record.parent_run_id] = record
        if dict(record.objectives) != dict(first.objectives):
            raise ReviewError(
                f"Sweeps must have the same objectives to be compared, but {first.experiment_name!r} has "
                f"{_words(first.objectives)} and {record.experiment_name!r} has {_words(record.objectives)}. "
                "Leave one of them out."
            )
        if record.required != first.required:
            raise ReviewError(
                f"Sweeps must let the same budgets decide what may be on their fronts to be compared, but of "
                f"{first.experiment_name!r} {_deciding(first)} and of {record.experiment_name!r} {_deciding(record)}. "
                "Write the same `front: {require: ...}` and search the same budgets, or leave one of them out."
            )
    if len(first.objectives) > HISTORY_UP_TO:
        raise ReviewError(
            f"A comparison must be of at most {HISTORY_UP_TO} objectives, but got {len(first.objectives)}: a hypervolume for "
            "each trial would take too long. Compare the fronts of `dualsweep front` instead."
        )


def _words(objectives: Mapping[str, Direction]) -> str:
    return ", ".join(f"{name} ({direction})" for name, direction in objectives.items())


def _deciding(record: SweepRecord) -> str:
    """Which budgets decide what may be on a sweep's front."""
    if record.required is None:
        return "all do"
    return f"{', '.join(sorted(record.required))} do" if record.required else "none does"


def _ended(record: SweepRecord) -> tuple[Trial, ...]:
    return tuple(trial for trial in record.trials if trial.status not in UNFINISHED)


def _reference(records: Sequence[SweepRecord], aligned: Sequence[SweepRecord]) -> tuple[tuple[float, ...], str]:
    """The sweeps' own reference point where all have the same, or else one for all of their feasible trials together."""
    objectives = records[0].objectives
    own = {
        None
        if record.reference_point is None
        else tuple(dict(zip(record.objectives, record.reference_point, strict=True)).items())
        for record in records
    }
    points = {None if each is None else tuple(dict(each)[name] for name in objectives) for each in own}
    (agreed,) = points if len(points) == 1 else (None,)
    if agreed is not None:
        return agreed, "the sweeps' own"
    admitted = [record.point(trial) for record in aligned for trial in record.trials if record.admitted(trial)]
    made = default_reference_point(admitted, list(objectives.values()))
    if made is None:
        raise ReviewError(
            "Sweeps must have a feasible trial, or a reference point of their own, to be compared, but none of these has one. "
            "Loosen the budgets, or write `reference_point` in the sweeps."
        )
    differ = "they name none" if points == {None} else "their own differ"
    return made, f"from the feasible trials of all sweeps together, since {differ}"


def _names(records: Sequence[SweepRecord]) -> list[str]:
    """Each sweep's experiment, with the run's id where several sweeps are of one."""
    names = [record.experiment_name for record in records]
    return [
        name if names.count(name) == 1 else f"{name} {record.parent_run_id[:8]}"
        for name, record in zip(names, records, strict=True)
    ]


def _course(label: str, record: SweepRecord, total: int, referred: SweepRecord) -> Course:
    trials = record.trials
    costs = {"trials": np.ones(len(trials))}
    if all(trial.batch_size is not None or not trial.steps for trial in trials):
        costs["samples"] = np.array([_samples(trial) for trial in trials])
    seconds = np.array([_seconds(trial) * trial.workers for trial in trials])
    if np.isfinite(seconds).all():
        costs["seconds"] = seconds
    return Course(
        label, record.experiment_name, record.parent_run_id, record.sampler_seed, hypervolume_history(referred),
        {axis: tuple(np.cumsum(each).tolist()) for axis, each in costs.items()},
        sum(map(record.admitted, trials)), total - len(trials),
    )  # fmt: skip


def _samples(trial: Trial) -> float:
    """Samples of all trainings that a trial is the mean of; 0 of one that ended before its first point, as they are not known."""
    return float((trial.steps or 0) * (trial.batch_size or 0) * trial.replicates)


def _seconds(trial: Trial) -> float:
    """What the trainings measured themselves; else how long the run was open; NaN where neither is known."""
    measured = trial.metric(metric_names.SECONDS) * trial.replicates
    return measured if math.isfinite(measured) else math.nan if trial.seconds is None else trial.seconds
