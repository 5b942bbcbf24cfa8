"""How a run ended: one of six statuses with a reason a person can read, and the figures of the delivered model."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import numpy as np

from trainer.dual.state import DualState, Tail
from trainer.problem import Estimate, Problem, Vector

Status = Literal["converged", "out_of_steps", "infeasible", "diverged", "failed", "stopped"]

#: A constraint is taken as met when its slack is at least minus this many standard errors.
Z = 2.0
#: The multipliers and the objective have settled when their means over the last two fifths of a run differ by less.
SETTLED = 0.05


@dataclass(frozen=True)
class ConstraintOutcome:
    """One constraint at the end of a run, in the user's units; `slack_error` is the slack's standard error.

    `multiplier` is settled, `multiplier_error` its standard error (`trainer.dual.settling`), NaN where it was not measured.
    `kind` is at_most, at_least, equals, or minimax, whose budget is u, the largest value. `relaxation` is what a resilient
    budget has given way by.
    """

    value: float
    budget: float
    slack: float
    slack_error: float
    multiplier: float
    kind: str = "at_most"
    relaxation: float = 0.0
    multiplier_error: float = math.nan

    @property
    def violation(self) -> float:
        """max(0, -slack), for an equality |slack|; of a resilient constraint, beyond its relaxed budget."""
        beyond = self.slack + self.relaxation
        return abs(beyond) if self.kind == "equals" else max(0.0, -beyond)

    @property
    def met(self) -> bool:
        """Whether it holds within `Z` standard errors; never where the slack is not known.

        So an equality is met when nothing contradicts it. Whoever accepts a band writes two constraints.
        """
        return math.isfinite(self.slack) and self.violation <= Z * (self.slack_error if math.isfinite(self.slack_error) else 0.0)


@dataclass(frozen=True)
class Result:
    """The end of one training.

    `objective` and the constraints' values are of the delivered (averaged) weights on the training distributions.
    `metrics` are the last point's, by their MLflow names. A sweep may stop a training, by the rule `stopped_by`; its figures
    are then those of its last point in training.
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
    stopped_by: str | None = None

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


def outcomes(problem: Problem, estimate: Estimate, multipliers: Vector, uncertain: Vector) -> dict[str, ConstraintOutcome]:
    """Each constraint's end at the settled multipliers [m], whose standard errors [m] are `uncertain`."""
    values, slacks, bounds = problem.values(estimate.mean), problem.slacks(estimate.mean), problem.bounds(estimate.mean)
    errors, relaxations = problem.slack_errors(estimate), problem.relaxations(multipliers)
    return {
        name: ConstraintOutcome(
            float(values[i]), float(bounds[i]), float(slacks[i]), float(errors[i]), float(multipliers[i]),
            problem.kinds[i], float(relaxations[i]), float(uncertain[i]),
        )
        for i, name in enumerate(problem.names)
    }  # fmt: skip


def verdict(state: DualState, constraints: dict[str, ConstraintOutcome]) -> tuple[Status, str]:
    """Whether a run that used all its steps converged, or only ran out of them, and why."""
    violated = [
        f"`{name}` by {each.violation:.4g} ± {each.slack_error:.2g}" for name, each in constraints.items() if not each.met
    ]
    if violated:
        return "out_of_steps", "all steps used with constraints violated: " + ", ".join(violated)
    first, last = state.tails
    if first.steps < 5 or last.steps < 5:
        return "out_of_steps", "all steps used; too few dual steps to tell whether the run settled"
    uneven = [f"`{name}` by {each.slack:.4g} ± {each.slack_error:.2g}" for name, each in constraints.items() if _uneven(each)]
    if uneven:
        return "out_of_steps", "all steps used, but constraints with weight are below the largest value: " + ", ".join(uneven)
    moving = _moving(first, last, list(constraints))
    if moving:
        met = ", every constraint met" if constraints else ""
        return "out_of_steps", f"all steps used{met}, but still moving: " + ", ".join(moving)
    if not constraints:
        return "converged", "the objective has settled"
    return "converged", "every constraint is met, and multipliers and objective have settled"


def _uneven(each: ConstraintOutcome) -> bool:
    """Whether a constraint has weight without being among the largest, which a solution of a minimax problem excludes."""
    tolerance = Z * each.slack_error + SETTLED * abs(each.budget)
    return each.kind == "minimax" and each.multiplier > SETTLED and each.slack > tolerance


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
