"""A trial as the rules see it: what it has reported by step, how far it is to go, and how it ended where it has."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from dualsweep.analysis.trials import JUDGED_STATUSES
from dualsweep.sweeps.early_stopping.forecast import Forecast, forecast, recent
from dualsweep.trainer.dual.problem import Vector
from dualsweep.trainer.feasibility.defaults import tolerances
from dualsweep.trainer.feasibility.tolerance import Tolerance
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.result import Result
from dualsweep.trainer.verdicts.trend import Measured, mean
from dualsweep.trainer.verdicts.verdict import END, Trace

#: The final evaluation is of averaged weights, which are better than the training weights that points are measured with. By
#: how much is known from trials that have ended; before, slacks are taken to gain up to this share of the constraint's value
#: (on the digits they gained up to 0.13).
AVERAGING = 0.15


EXACT = Tolerance(0.0)


@dataclass(frozen=True)
class Bound:
    """A constraint with a budget: its name, kind (at_most, at_least or equals), and by how much it may be missed."""

    name: str
    kind: str
    tolerance: Tolerance = EXACT


@dataclass
class Watched:
    """One training: `steps` it is to take; `bounds` with their budgets; `warmup` steps during which multipliers stay, and
    `moving`, whether they ever move; `maximize`, whether its objective is. `trial` is the name of the trial that it is of, which
    is its own where that is one training; `stands`, whether it is the one of these that stands for it at the rungs of `halving`.

    `histories` are of its points, by metric; `result` is None while it runs. Once it has ended, `levels` and `gains` are kept:
    the last levels of metrics, and by how much each slack of the final evaluation is above that in training.
    """

    name: str
    steps: int
    bounds: tuple[Bound, ...] = ()
    warmup: int = 0
    moving: bool = True
    maximize: bool = False
    histories: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    step: int = 0
    result: Result | None = None
    levels: dict[str, Measured] = field(default_factory=dict)
    gains: dict[str, float] = field(default_factory=dict)
    trial: str = ""
    stands: bool = True

    def __post_init__(self) -> None:
        self.trial = self.trial or self.name

    @classmethod
    def of(cls, name: str, recipe: Recipe, trial: str = "", *, stands: bool = True) -> Watched:
        """A training of this recipe that has not begun."""
        allowed = tolerances(recipe)
        bounds = tuple(
            Bound(each.name, each.kind, allowed[each.name] or EXACT) for each in recipe.constraints if each.kind != "minimax"
        )
        moving = recipe.dual.rule != "fixed"
        steps, warmup = recipe.train.steps, recipe.dual.warmup
        return cls(name, steps, bounds, warmup, moving, recipe.maximizes, trial=trial, stands=stands)

    def add(self, step: int, metrics: Mapping[str, float]) -> None:
        """Takes a point."""
        self.step = step
        for metric, value in metrics.items():
            self.histories.setdefault(metric, []).append((step, float(value)))

    def end(self, result: Result, metrics: Iterable[str]) -> None:
        """Ends the trial: of its points only what others are compared with is kept, the level of `metrics` and the gains."""
        self.levels = {metric: self.now(metric) for metric in metrics}
        self.gains = self._gained(result)
        self.result, self.histories = result, {}

    def admitted(self, required: frozenset[str] | None) -> bool:
        """Whether it ended with a final evaluation that shows these constraints met, None for all: it may be on the front."""
        if self.result is None or self.result.status not in JUDGED_STATUSES:
            return False
        if required is None:
            return self.result.feasible == "met" and self.result.status != "infeasible"
        return all(each.standing == "met" for name, each in self.result.constraints.items() if name in required)

    def trace(self, bound: Bound) -> Trace:
        """A constraint's trace since the warm-up; an equality's turned so that its slack is the negative one."""
        trace = Trace.of(self.histories, bound.name, after=self.warmup)
        if bound.kind == "equals" and (level := recent(trace.steps, trace.slacks).value) > 0 and math.isfinite(level):
            return trace.turned()
        return trace

    def series(self, metric: str) -> tuple[Vector, Vector]:
        """Steps and values of a metric, [n] each."""
        points = self.histories.get(metric, [])
        return np.array([step for step, _ in points], dtype=np.float64), np.array([value for _, value in points])

    def now(self, metric: str) -> Measured:
        """The present level of a metric, with its error; of an ended training only of what was kept."""
        return self.levels[metric] if self.result is not None else recent(*self.series(metric))

    def forecast(self, metric: str, z: float) -> Forecast | None:
        """Where a metric will be at the last step."""
        return forecast(*self.series(metric), float(self.steps), z)

    def _gained(self, result: Result) -> dict[str, float]:
        """By how much each slack of the final evaluation is above that of the last fifth of training."""
        if result.status not in JUDGED_STATUSES:
            return {}
        gains = {}
        for name, outcome in result.constraints.items():
            trained = mean(Trace.of(self.histories, name).last(END).slacks).value
            if math.isfinite(trained) and math.isfinite(outcome.slack):
                gains[name] = outcome.slack + outcome.relaxation - trained
        return gains
