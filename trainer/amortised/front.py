"""The front that an amortised network was measured to have, as it is stored: `amortised.json` (docs/amortised.md)."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from dualsweep.trainer import metric_names
from dualsweep.trainer.amortised.spread import MultiplierRange
from dualsweep.trainer.config.diagnostics import RuleError
from dualsweep.trainer.dual.problem import ConstrainedProblem, Vector
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.own_files import read_own_at
from dualsweep.trainer.recipe.bound import Kind

if TYPE_CHECKING:
    from dualsweep.trainer.amortised.dual_function import DualFunction

FILE = "amortised.json"


@dataclass(frozen=True)
class FrontPoint:
    """What the network has at some multipliers: objective and constraint values by name, with their standard errors."""

    multipliers: Mapping[str, float]
    objective: float
    objective_error: float
    values: Mapping[str, float]
    value_errors: Mapping[str, float]

    @property
    def metrics(self) -> dict[str, float]:
        """The point's figures by the names of metrics: `objective`, `value/NAME`, `value/max`, `multiplier/NAME`."""
        metrics = {"objective": self.objective}
        for word, by_name in (("value", self.values), ("multiplier", self.multipliers)):
            metrics |= {f"{word}/{name}": value for name, value in by_name.items()}
        return metrics | {metric_names.LARGEST_VALUE: max(self.values.values())}


@dataclass(frozen=True)
class AmortisedFront:
    """Points of one network, and what it takes to read budgets off them; everything by constraint is by name, in order.

    `kinds` are at_most or at_least, `budgets` the recipe's own, `relative` says whether a value is g - f; `low` and `high` are
    the range of the multipliers; `softness` is 1 / alpha of budgets that relax themselves, else 0.
    """

    points: tuple[FrontPoint, ...]
    steps: int
    maximize: bool
    kinds: Mapping[str, Kind]
    budgets: Mapping[str, float]
    relative: Mapping[str, bool]
    low: Mapping[str, float]
    high: Mapping[str, float]
    softness: Mapping[str, float]

    @classmethod
    def of(cls, spread: MultiplierRange, points: Sequence[FrontPoint], steps: int) -> Self:
        """The front that `points` make, measured along a training of `steps` steps over the range `spread`."""
        problem = spread.problem

        def named(values: Sequence[Any]) -> dict[str, Any]:
            return dict(zip(problem.names, values, strict=True))

        return cls(
            tuple(points), steps, problem.maximize, named(problem.kinds), named(problem.budgets.tolist()),
            named(problem.relative.tolist()), named(spread.low.tolist()), named(spread.high.tolist()),
            named(problem.softness.tolist()),
        )  # fmt: skip

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.kinds)

    @property
    def spread(self) -> MultiplierRange:
        """The range, for which nothing is drawn any more."""
        problem = ConstrainedProblem(
            self.names, self._row(self.budgets), np.array([self.relative[name] for name in self.names], dtype=np.bool_),
            tuple(self.kinds.values()), self._row(self.softness), maximize=self.maximize,
        )  # fmt: skip
        return MultiplierRange(problem, self._row(self.low), self._row(self.high), 0.0, 0)

    @property
    def last(self) -> Mapping[str, float]:
        """The multipliers of the last point, where the recipe's own budgets lead."""
        return self.points[-1].multipliers

    def _row(self, named: Mapping[str, float]) -> Vector:
        return np.array([named[name] for name in self.names], dtype=np.float64)

    def dual_function(self) -> DualFunction:
        """The dual function through the points, with every constraint turned to at_most and the objective minimised."""
        from dualsweep.trainer.amortised.dual_function import DualFunction

        spread = self.spread
        problem = spread.problem
        multipliers = np.array([self._row(each.multipliers) for each in self.points])
        values = problem.signs * np.array([self._row(each.values) for each in self.points])
        return DualFunction.of(
            spread, multipliers, problem.direction * np.array([each.objective for each in self.points]), values
        )

    def multipliers_for(self, budgets: Mapping[str, float]) -> dict[str, float]:
        """lambda(b) by name; a budget that is not given is the recipe's own.

        Raises:
            RuleError: no such constraint, or a budget tighter than the range of the multipliers reaches.
        """
        if unknown := sorted(set(budgets) - set(self.names)):
            raise RuleError("", f"must be of {', '.join(self.names)}", unknown[0], "name one of them")
        spread = self.spread
        wanted = spread.problem.signs * self._row({**self.budgets, **budgets})
        dual = self.dual_function()
        multipliers = dual.multipliers_for(wanted, spread.problem.softness)
        reached = dual.at(multipliers[None])[1][0] - spread.problem.relaxations(multipliers)
        at_end, largest = spread.at_end(multipliers), spread.largest(multipliers)
        for i, name in enumerate(self.names):
            tolerance = 0.01 * float(np.ptp(dual.values[:, i]))
            if at_end[i] and reached[i] > wanted[i] + tolerance:
                value, asked = spread.problem.signs[i] * reached[i], {**self.budgets, **budgets}[name]
                received = f"{asked:g} for {name}, which is at {value:.4g} with {largest[i]}"
                raise RuleError("", "must be a budget that the range of multipliers reaches", received, "loosen it")
        return dict(zip(self.names, multipliers.tolist(), strict=True))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Self:
        return cls(**{**plain, "points": tuple(FrontPoint(**each) for each in plain["points"])})


def front_in(place: str) -> AmortisedFront | None:
    """The front in a run's output or a checkpoint; None where there is none."""
    return read_own_at(place, FILE, lambda text: AmortisedFront.from_json(json.loads(text)))


def front_of(checkpoint: str) -> AmortisedFront:
    """The front that lies in a checkpoint of an amortised run.

    Raises:
        TrainingError: it has none.
    """
    front = front_in(checkpoint)
    if front is None:
        run = posixpath.dirname(posixpath.dirname(checkpoint.rstrip("/")))
        raise TrainingError(f"a run must be amortised and ended to have {FILE}, but {run} has none; train it to its end")
    return front
