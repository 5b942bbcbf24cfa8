"""The metrics of a run by step, under their MLflow names (docs/sweep.md): averages over the dual steps since the last point."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np

from dualsweep.trainer import metric_names
from dualsweep.trainer.dual.problem import ConstrainedProblem, Vector
from dualsweep.trainer.dual.state import DualState, Integers, pack, unpack
from dualsweep.trainer.feasibility.standing import Slack, Standing, overall, standing_of
from dualsweep.trainer.result import ConstraintOutcome


@dataclass(frozen=True)
class MetricWindow:
    """Sums over dual steps of the means [1 + m], of the slacks and of their squares [m], and of how many steps each is.

    steps [1 + m] are those of the means, slack_steps [m] those of the slacks: a step adds what it has a finite value of.
    """

    steps: Integers
    means: Vector
    slack_steps: Integers
    slacks: Vector
    squares: Vector

    @classmethod
    def empty(cls, constraints: int) -> Self:
        none, zeros = np.zeros(1 + constraints, dtype=np.int64), np.zeros(constraints)
        return cls(none, np.zeros(1 + constraints), none[1:], zeros, zeros)

    def add(self, problem: ConstrainedProblem, state: DualState) -> MetricWindow:
        """The window with the means of `state`."""
        slacks = problem.slacks(state.means)
        known, told = np.isfinite(state.means), np.isfinite(slacks)
        added = np.where(told, slacks, 0.0)
        return MetricWindow(
            self.steps + known, self.means + np.where(known, state.means, 0.0),
            self.slack_steps + told, self.slacks + added, self.squares + added**2,
        )  # fmt: skip

    def metrics(self, problem: ConstrainedProblem, state: DualState) -> dict[str, float]:
        """The point's metrics: estimates on training batches with the training (not the averaged) weights.

        The slacks' standard errors are from their scatter over the dual steps; of a single one, its own. What no step has is
        left out.
        """
        multipliers = {metric_names.multiplier(name): float(state.multipliers[i]) for i, name in enumerate(problem.names)}
        if not self.steps.any():
            return multipliers
        with np.errstate(all="ignore"):
            means = self.means / self.steps
            scatter = np.maximum(self.squares / self.slack_steps - (self.slacks / self.slack_steps) ** 2, 0.0)
            errors = np.where(self.slack_steps > 1, np.sqrt(scatter / (self.slack_steps - 1)), state.errors)
        metrics = multipliers | point(problem, means, errors, state.multipliers)
        return metrics if problem.complete(means) else {name: each for name, each in metrics.items() if np.isfinite(each)}

    def to_json(self) -> dict[str, Any]:
        return {each.name: pack(getattr(self, each.name)) for each in fields(self)}

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> Self:
        """Restores it; one of before counted the steps that had every value."""
        values = {name: unpack(value) for name, value in plain.items()}
        if "slack_steps" not in values:
            whole = np.full(len(values["means"]), values["steps"], dtype=np.int64)
            values |= {"steps": whole, "slack_steps": whole[1:]}
        return cls(**values)


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
