"""How a run ended: one of five statuses with a reason a person can read, and the figures of the delivered model."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import numpy as np

from trainer.dual.state import DualState, Tail
from trainer.problem import Estimate, Problem

Status = Literal["converged", "out_of_steps", "infeasible", "diverged", "failed"]

#: A constraint is taken as met when its slack is at least minus this many standard errors.
Z = 2.0
#: The multipliers and the objective have settled when their means over the last two fifths of a run differ by less.
SETTLED = 0.05


@dataclass(frozen=True)
class ConstraintOutcome:
    """One constraint at the end of a run; `slack_error` is the slack's standard error."""

    value: float
    budget: float
    slack: float
    slack_error: float
    multiplier: float
    kind: str = "at_most"

    @property
    def met(self) -> bool:
        """Whether the slack is >= 0 within `Z` standard errors; never where it is not known."""
        return math.isfinite(self.slack) and self.slack >= -Z * (self.slack_error if math.isfinite(self.slack_error) else 0.0)


@dataclass(frozen=True)
class Result:
    """The end of one training.

    `objective` and the constraints' values are of the delivered (averaged) weights on the training distributions.
    `metrics` are the last point's, by their MLflow names.
    """

    status: Status
    reason: str
    objective: float
    objective_error: float
    constraints: dict[str, ConstraintOutcome]
    feasible: bool
    steps: int
    seconds: float
    checkpoint: str | None
    metrics: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The form of `--json` files (docs/recipe.md)."""
        plain = {key: value for key, value in vars(self).items() if key != "constraints"}
        return {**plain, "constraints": {name: vars(each) for name, each in self.constraints.items()}}

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> Self:
        constraints = {name: ConstraintOutcome(**each) for name, each in plain["constraints"].items()}
        return cls(**{**plain, "constraints": constraints})


def failed(reason: str, steps: int = 0, seconds: float = 0.0) -> Result:
    """The result of a run that broke off."""
    return Result("failed", reason, math.nan, math.nan, {}, False, steps, seconds, None)


def outcomes(problem: Problem, estimate: Estimate, multipliers: np.ndarray) -> dict[str, ConstraintOutcome]:
    values, slacks = problem.values(estimate.mean), problem.slacks(estimate.mean)
    errors = problem.slack_errors(estimate.variance)
    return {
        name: ConstraintOutcome(
            float(values[i]), float(problem.budgets[i]), float(slacks[i]), float(errors[i]), float(multipliers[i])
        )
        for i, name in enumerate(problem.names)
    }


def settled_multipliers(state: DualState) -> np.ndarray:
    """The mean of the multipliers over the last fifth of the run (the averaged iterate, steadier than the last one)."""
    last = state.tails[1]
    return last.multipliers / last.steps if last.steps else state.multipliers


def verdict(state: DualState, constraints: dict[str, ConstraintOutcome]) -> tuple[Status, str]:
    """Whether a run that used all its steps converged, or only ran out of them, and why."""
    violated = [f"`{name}` by {-each.slack:.4g} ± {each.slack_error:.2g}" for name, each in constraints.items() if not each.met]
    if violated:
        return "out_of_steps", "all steps used with constraints violated: " + ", ".join(violated)
    first, last = state.tails
    if first.steps < 5 or last.steps < 5:
        return "out_of_steps", "all steps used; too few dual steps to tell whether the multipliers settled"
    moving = _moving(first, last, list(constraints))
    if moving:
        return "out_of_steps", "all steps used, every constraint met, but still moving: " + ", ".join(moving)
    return "converged", "every constraint is met, and multipliers and objective have settled"


def _moving(first: Tail, last: Tail, names: list[str]) -> list[str]:
    moving = []
    before, after = first.objective / first.steps, last.objective / last.steps
    if abs(after - before) > SETTLED * max(abs(before), abs(after)):
        moving.append(f"the objective ({before:.4g} → {after:.4g})")
    start, end = first.multipliers / first.steps, last.multipliers / last.steps
    scale = max(1e-3, float(np.max(np.abs(end), initial=0.0)))
    for name, old, new in zip(names, start, end, strict=True):
        if abs(new - old) > 2 * SETTLED * scale:
            moving.append(f"the multiplier of `{name}` ({old:.4g} → {new:.4g})")
    return moving
