"""The metrics of a run by step, under their MLflow names (docs/sweep.md): averages over the dual steps since the last point."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np

from dualsweep.trainer import metric_names
from dualsweep.trainer.dual.problem import ConstrainedProblem, Vector
from dualsweep.trainer.dual.state import DualState, pack, unpack
from dualsweep.trainer.feasibility.standing import Slack, Standing, overall, standing_of
from dualsweep.trainer.result import ConstraintOutcome


@dataclass(frozen=True)
class MetricWindow:
    """Sums over dual steps: of the means [1 + m], of the slacks and of their squares [m], and the number of steps."""

    steps: int
    means: Vector
    slacks: Vector
    squares: Vector

    @classmethod
    def empty(cls, constraints: int) -> Self:
        return cls(0, np.zeros(1 + constraints), np.zeros(constraints), np.zeros(constraints))

    def add(self, problem: ConstrainedProblem, state: DualState) -> MetricWindow:
        """The window with the means of `state`; a dual step without finite means adds nothing."""
        if not problem.complete(state.means):
            return self
        slacks = problem.slacks(state.means)
        return MetricWindow(self.steps + 1, self.means + state.means, self.slacks + slacks, self.squares + slacks**2)

    def metrics(self, problem: ConstrainedProblem, state: DualState) -> dict[str, float]:
        """The point's metrics: estimates on training batches with the training (not the averaged) weights.

        The slacks' standard errors are from their scatter over the dual steps; of a single one, its own.
        """
        multipliers = {metric_names.multiplier(name): float(state.multipliers[i]) for i, name in enumerate(problem.names)}
        if not self.steps:
            return multipliers
        means, errors = self.means / self.steps, state.errors
        if self.steps > 1:
            scatter = np.maximum(self.squares / self.steps - (self.slacks / self.steps) ** 2, 0.0)
            errors = np.sqrt(scatter / (self.steps - 1))
        return multipliers | point(problem, means, errors, state.multipliers)

    def to_json(self) -> dict[str, Any]:
        return {each.name: pack(getattr(self, each.name)) for each in fields(self)}

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> Self:
        return cls(**{name: unpack(value) for name, value in plain.items()})


def point(problem: ConstrainedProblem, means: Vector, slack_errors: Vector, multipliers: Vector) -> dict[str, float]:
    """Metrics from the means [1 + m] and the slacks' standard errors [m].

    `feasible` is 1 where this point alone shows every constraint met (`trainer/feasibility/standing.py`). On the simplex the
    objective and every budget are u, the largest value. A resilient budget that has relaxed itself counts as
    met at `budget/NAME` plus `relaxation/NAME`.
    """
    values, slacks, bounds = problem.values(means), problem.slacks(means), problem.bounds(means)
    relaxations = problem.relaxations(multipliers)
    metrics = {"objective": problem.objective(means), "lagrangian": problem.lagrangian(means, multipliers)}
    for i, name in enumerate(problem.names):
        metrics[metric_names.value(name)] = float(values[i])
        metrics[metric_names.slack(name)] = float(slacks[i])
        metrics[metric_names.slack_error(name)] = float(slack_errors[i])
        metrics[metric_names.multiplier(name)] = float(multipliers[i])
        metrics[metric_names.budget(name)] = float(bounds[i])
        if problem.softness[i]:
            metrics[metric_names.relaxation(name)] = float(relaxations[i])
    if problem.names:
        metrics[metric_names.LARGEST_VALUE] = float(values.max())
    metrics[metric_names.LARGEST_VIOLATION] = float(np.max(problem.violations(slacks), initial=0.0))
    constraint_standings = [
        standing_of(Slack(float(slack), float(error)), kind, float(tolerance), problem.confidence, len(problem.names))
        for slack, error, kind, tolerance in zip(
            slacks + relaxations, slack_errors, problem.kinds, problem.tolerated(means), strict=True
        )
    ]
    metrics["feasible"] = float(overall(constraint_standings) == "met")
    return metrics


#: Each standing as the metric `standing/NAME`.
NUMBERS: Mapping[Standing, float] = {"met": 1.0, "undecided": 0.0, "violated": -1.0}


def standings(constraints: Mapping[str, ConstraintOutcome]) -> dict[str, float]:
    """`tolerance/NAME`, `standing/NAME` and, of held-out data, `eval/standing/NAME` of a final evaluation, as metrics."""
    tolerances = {metric_names.tolerance(name): each.tolerance for name, each in constraints.items()}
    held_out = {name: each.held_out for name, each in constraints.items() if each.held_out is not None}
    return (
        tolerances
        | {metric_names.standing(name): NUMBERS[each.standing] for name, each in constraints.items()}
        | {metric_names.held_out(metric_names.standing(name)): NUMBERS[each.standing] for name, each in held_out.items()}
    )
