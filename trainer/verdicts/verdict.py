"""The records: what a verdict says, and one constraint's trace that it is taken from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np

from dualsweep.trainer import metric_names
from dualsweep.trainer.dual.problem import Vector
from dualsweep.trainer.metric_point import MetricPoint

Word = Literal[
    "met", "active", "inactive", "noisy", "violated", "undecided", "oscillating", "rising", "falling", "runaway", "infeasible",
    "unknown",
]  # fmt: skip
#: Metrics by their MLflow names, each as (step, value) in the order of the steps.
Histories = Mapping[str, Sequence[tuple[int, float]]]

#: The share of a run, at its end, from which the dynamics are read: before it, the primal itself is still learning.
TAIL = 0.6
#: The share at the end that stands for how the run ended: the one over which the delivered multipliers are averaged
#: (`dualsweep.trainer.dual.settling`).
END = 0.2
#: The metrics of a trace beside its multipliers, each with what stands where a point lacks it.
_COLUMNS = (("slack", np.nan), ("slack_error", np.nan), ("relaxation", 0.0))


@dataclass(frozen=True)
class Verdict:
    """What became of one constraint.

    `word` is one of `Word`; `sentence` says it with its figures; `suggestion` is what to change, empty where nothing asks
    for it; `evidence` holds the numbers behind both, by name.
    """

    name: str
    word: Word
    sentence: str
    suggestion: str
    evidence: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        return dict(vars(self))


def histories_of(points: Iterable[MetricPoint]) -> dict[str, list[tuple[int, float]]]:
    """Histories from a run's points, without the final evaluation."""
    histories: dict[str, list[tuple[int, float]]] = {}
    for point in points:
        if not point.final:
            for metric, value in point.metrics.items():
                histories.setdefault(metric, []).append((point.step, float(value)))
    return histories


@dataclass(frozen=True)
class Trace:
    """One constraint over the points of a run, all of shape [n]: steps, multipliers, slacks and their standard errors.

    Slacks and errors that are missing or not finite are NaN; points without a finite multiplier are left out.
    """

    steps: Vector
    multipliers: Vector
    slacks: Vector
    errors: Vector

    @classmethod
    def of(cls, histories: Histories, name: str, after: int = 0) -> Self:
        """The trace of the constraint `name` beyond the step `after`; slacks net of what a resilient budget has given way by."""
        known = {
            step: value for step, value in histories.get(metric_names.multiplier(name), ()) if np.isfinite(value) and step > after
        }
        steps = sorted(known)
        columns = [(dict(histories.get(f"{kind}/{name}", ())), none) for kind, none in _COLUMNS]
        slacks, errors, given = (
            np.array([column.get(step, none) for step in steps], dtype=np.float64) for column, none in columns
        )
        slacks = slacks + given
        multipliers = np.array([known[step] for step in steps], dtype=np.float64)
        finite = np.isfinite(slacks)
        return cls(
            np.array(steps, dtype=np.float64), multipliers, np.where(finite, slacks, np.nan), np.where(finite, errors, np.nan)
        )

    def last(self, share: float) -> Trace:
        """The points in the last `share` of the steps."""
        if not len(self.steps):
            return self
        begin = self.steps[-1] - share * (self.steps[-1] - self.steps[0])
        keep = self.steps >= begin
        return Trace(self.steps[keep], self.multipliers[keep], self.slacks[keep], self.errors[keep])

    def turned(self) -> Trace:
        """The trace with the signs of multipliers and slacks exchanged: of an equality that is pressed from the other side."""
        return Trace(self.steps, -self.multipliers, -self.slacks, self.errors)
