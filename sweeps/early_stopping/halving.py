"""The rule `halving`: asynchronous successive halving by constrained non-domination rank.

At a rung, a share first * reduction^k of its steps, a trial is recorded, and goes on where it is in the best 1 / reduction of
those recorded there so far (Li et al. 2020, *A System for Massively Parallel Hyperparameter Tuning*, MLSys, in the form that
stops and never pauses). Nobody waits for anybody, so the first ones at a rung go on. Of a trial of several trainings that of the
first seed is recorded and judged for all: three of them must not be three chances to be stopped, and which gets there first is
up to the machines, and no longer known after a kill.

The order is that of Deb et al. 2002, *A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II* (§VI): feasible before
infeasible, the feasible by non-domination rank, the infeasible by their largest violation. Within a rank an epsilon-net spreads
the choice over the front (Schmucker et al. 2021, *Multi-objective Asynchronous Successive Halving*, arXiv 2106.12639): the one
nearest the ideal point, then always the one farthest from those chosen. A net that begins at an end of the front keeps ends
that cost much in one objective: in tests/sweeps/early_stopping/test_halving.py it lost no less hypervolume than chance.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dualsweep.analysis.front import domination_ranks
from dualsweep.trainer.dual.problem import Vector


@dataclass(frozen=True)
class Standing:
    """A trial at a rung: its objectives, less is better in all, and its largest violation, 0 where it is feasible."""

    objectives: tuple[float, ...]
    violation: float = 0.0


def levels(first: float, reduction: int) -> tuple[float, ...]:
    """The rungs, as shares of a trial's steps: first, first * reduction, ... below 1."""
    count = math.ceil(math.log(1.0 / first) / math.log(reduction) - 1e-9)
    return tuple(first * reduction**k for k in range(count))


@dataclass
class Rungs:
    """Which trial was recorded where, by name and in the order of arrival."""

    first: float
    reduction: int
    recorded: dict[float, dict[str, Standing]] = field(default_factory=dict)

    def passed(self, before: int, step: int, steps: int) -> float | None:
        """The highest rung that lies beyond the step `before` and not beyond `step`, for a trial of `steps`."""
        found = [level for level in levels(self.first, self.reduction) if before < math.ceil(level * steps - 1e-9) <= step]
        return max(found, default=None)

    def record(self, level: float, name: str, standing: Standing) -> str | None:
        """Records a trial at a rung, once; why it is to stop there, in words, or None where it goes on."""
        here = self.recorded.setdefault(level, {})
        if name in here:
            return None
        here[name] = standing
        if len(here) < self.reduction:
            return None
        names = list(here)
        place = [names[i] for i in order([here[each] for each in names])].index(name)
        going = len(here) // self.reduction
        if place < going:
            return None
        goes = "the first goes" if going == 1 else f"the first {going} go"
        after = f"after {100 * level:.3g} % of its steps"
        return f"{after} it is number {place + 1} of the {len(here)} trials recorded there, of which {goes} on"


def order(standings: Sequence[Standing]) -> list[int]:
    """The places [n] of standings from the best to the worst."""
    feasible = [i for i, each in enumerate(standings) if each.violation <= 0 and all(map(math.isfinite, each.objectives))]
    beyond = sorted(set(range(len(standings))) - set(feasible), key=lambda i: (_known(standings[i].violation), i))
    if not feasible:
        return beyond
    points = np.array([standings[i].objectives for i in feasible], dtype=np.float64)
    ranks = domination_ranks(points, ["minimize"] * points.shape[1])
    ordered: list[int] = []
    for rank in sorted(set(ranks.tolist())):
        front = np.flatnonzero(ranks == rank)
        ordered += [feasible[front[i]] for i in spread(points[front])]
    return ordered + beyond


def spread(points: NDArray[np.float64]) -> list[int]:
    """An epsilon-net of points [n, objectives]: the places from the one nearest the ideal on, farthest from the chosen first."""
    extent = np.ptp(points, axis=0)
    scaled = (points - points.min(axis=0)) / np.where(extent > 0, extent, 1.0)
    chosen = [int(np.argmin(np.linalg.norm(scaled, axis=1)))]
    distances: Vector = np.linalg.norm(scaled - scaled[chosen[0]], axis=1)
    while len(chosen) < len(points):
        distances[chosen] = -1.0
        chosen.append(int(np.argmax(distances)))
        distances = np.minimum(distances, np.linalg.norm(scaled - scaled[chosen[-1]], axis=1))
    return chosen


def _known(violation: float) -> float:
    """A violation to sort by: 0 is of a trial whose objectives are not finite, which is last, as is an unknown one."""
    return violation if violation > 0 and math.isfinite(violation) else math.inf


def cost(values: Iterable[float], signs: Iterable[float]) -> tuple[float, ...]:
    """Objectives with the maximised ones negated."""
    return tuple(sign * value for sign, value in zip(signs, values, strict=True))
