"""How a run ended: one of six statuses with a reason a person can read, and the figures of the delivered model."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

import numpy as np

from dualsweep.trainer.feasibility.held_out import HeldOut
from dualsweep.trainer.feasibility.standing import Slack, Standing, overall, standing_of
from dualsweep.trainer.feasibility.tolerance import SHARE
from dualsweep.trainer.recipe.bound import Kind

if TYPE_CHECKING:
    from dualsweep.trainer.dual.problem import ConstrainedProblem, Estimate, Vector
    from dualsweep.trainer.dual.state import DualState, Tail
    from dualsweep.trainer.feasibility.deciding import Decision

Status = Literal["converged", "out_of_steps", "infeasible", "diverged", "failed", "stopped"]

#: What lies within this many standard errors is not told apart from noise.
Z = 2.0
#: Statuses whose figures are a final evaluation.
EVALUATED = frozenset({"converged", "out_of_steps", "infeasible"})
#: How the reason of a run ends that took too few dual steps.
UNTOLD = "too few dual steps to tell whether the run settled"
#: The multipliers and the objective have settled when their means over the last two fifths of a run differ by less.
SETTLED = 0.05


@dataclass(frozen=True)
class ConstraintOutcome:
    """One constraint at the end of a run, in the user's units; `slack_error` is the slack's standard error.

    `multiplier` is settled, `multiplier_error` its standard error (`trainer/dual/settling.py`), NaN where it was not measured.
    `kind` is at_most, at_least, equals, or minimax, whose budget is u, the largest value. `relaxation` is what a resilient
    budget has given way by. `tolerance` is by how much the value may miss its budget and count as met, in the constraint's unit.
    `decided` is what the final evaluation found in stages; None where one look at the figures has to do. `held_out` is what
    held-out data say, None where there are none of its.
    """

    value: float
    budget: float
    slack: float
    slack_error: float
    multiplier: float
    kind: Kind = "at_most"
    relaxation: float = 0.0
    multiplier_error: float = math.nan
    tolerance: float = 0.0
    decided: Standing | None = None
    held_out: HeldOut | None = None

    @property
    def violation(self) -> float:
        """max(0, -slack), for an equality |slack|; of a resilient constraint, beyond its relaxed budget."""
        beyond = self.slack + self.relaxation
        return abs(beyond) if self.kind == "equals" else max(0.0, -beyond)

    @property
    def standing(self) -> Standing:
        """Whether it is met, or violated, or neither is known with confidence (docs/recipe.md)."""
        return self.decided or standing_of(Slack(self.slack + self.relaxation, self.slack_error), self.kind, self.tolerance)

    @property
    def met(self) -> bool:
        """Whether it is known to be met."""
        return self.standing == "met"

    def to_json(self) -> dict[str, Any]:
        """The form of `--json` files: each field, and the standing in place of `decided`."""
        plain = {key: value for key, value in vars(self).items() if key not in ("decided", "held_out")}
        held_out = vars(self.held_out) if self.held_out is not None else None
        return {**plain, "standing": self.standing, "held_out": held_out}

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> Self:
        """One of a run from before there were standings is judged anew, with the default tolerance."""
        fields = {key: value for key, value in plain.items() if key not in ("standing", "held_out")}
        held_out = HeldOut(**plain["held_out"]) if plain.get("held_out") else None
        default = 0.0 if plain.get("kind") == "minimax" else SHARE * abs(plain["budget"])
        return cls(**{"tolerance": default, "decided": plain.get("standing"), "held_out": held_out, **fields})


@dataclass(frozen=True)
class Result:
    """The end of one training.

    `objective` and the constraints' values are of the delivered (averaged) weights on the training distributions.
    `feasible` is that of all constraints together, undecided for a run without a final evaluation. `metrics` are the last
    point's, by their MLflow names. A sweep may stop a training, by the rule `stopped_by`; its figures
    are then those of its last point in training.
    """

    status: Status
    reason: str
    objective: float
    objective_error: float
    constraints: dict[str, ConstraintOutcome]
    feasible: Standing
    steps: int
    seconds: float
    checkpoint: str | None
    metrics: dict[str, float] = field(default_factory=dict)
    stopped_by: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The form of `--json` files (docs/recipe.md)."""
        plain = {key: value for key, value in vars(self).items() if key != "constraints"}
        return {**plain, "constraints": {name: each.to_json() for name, each in self.constraints.items()}}

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> Self:
        constraints = {name: ConstraintOutcome.from_json(each) for name, each in plain["constraints"].items()}
        feasible = plain["feasible"]
        if isinstance(feasible, bool):  # a run from before there were standings
            feasible = feasibility(plain["status"], constraints)
        return cls(**{**plain, "constraints": constraints, "feasible": feasible})


def read_result(text: bytes) -> Result:
    """A `result.json`.

    Raises:
        ValueError, TypeError, KeyError, AttributeError, RecursionError: it is none.
    """
    result = Result.from_json(json.loads(text))
    figures = [result.seconds, result.steps, result.objective, result.objective_error, *result.metrics.values()]
    if result.status not in get_args(Status) or not isinstance(result.reason, str) or not all(map(_is_number, figures)):
        raise ValueError(f"a result must have a status, a reason and numbers, but got {result.status!r} with {figures[:4]!r}")
    return result


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def failed(reason: str, steps: int = 0, seconds: float = 0.0) -> Result:
    """The result of a run that broke off."""
    return Result("failed", reason, math.nan, math.nan, {}, "undecided", steps, seconds, None)


def feasibility(status: Status, constraints: Mapping[str, ConstraintOutcome]) -> Standing:
    """The standing of a run whose constraints ended so; undecided where they come from no final evaluation."""
    return overall(each.standing for each in constraints.values()) if status in EVALUATED else "undecided"


def outcomes(
    problem: ConstrainedProblem, estimate: Estimate, multipliers: Vector, uncertain: Vector, decision: Decision
) -> dict[str, ConstraintOutcome]:
    """Each constraint's end at the settled multipliers [m], whose standard errors [m] are `uncertain`."""
    values, slacks, bounds = problem.values(estimate.mean), problem.slacks(estimate.mean), problem.bounds(estimate.mean)
    errors, relaxations = problem.slack_errors(estimate), problem.relaxations(multipliers)
    tolerated = problem.tolerated(estimate.mean)
    return {
        name: ConstraintOutcome(
            float(values[i]), float(bounds[i]), float(slacks[i]), float(errors[i]), float(multipliers[i]),
            problem.kinds[i], float(relaxations[i]), float(uncertain[i]), float(tolerated[i]),
            decision.standings[i], decision.held_out[i],
        )
        for i, name in enumerate(problem.names)
    }  # fmt: skip


def verdict(state: DualState, constraints: Mapping[str, ConstraintOutcome]) -> tuple[Status, str]:
    """Whether a run that used all its steps converged, or only ran out of them, and why."""
    violated = [
        f"`{name}` {_by(each)} (tolerance {each.tolerance:.2g})"
        for name, each in constraints.items()
        if each.standing == "violated"
    ]
    first, last = state.tails[-2:]
    few = f"; {UNTOLD}" if first.steps < 5 or last.steps < 5 else ""
    if violated:
        return "out_of_steps", f"all steps used with constraints violated: {', '.join(violated)}{few}"
    if few:
        return "out_of_steps", f"all steps used{few}"
    uneven = [f"`{name}` by {each.slack:.4g} ± {each.slack_error:.2g}" for name, each in constraints.items() if _uneven(each)]
    if uneven:
        return "out_of_steps", "all steps used, but constraints with weight are below the largest value: " + ", ".join(uneven)
    moving = _moving(first, last, list(constraints))
    kept = _kept(constraints)
    if moving:
        return "out_of_steps", f"all steps used{', ' + kept if kept else ''}, but still moving: " + ", ".join(moving)
    if not constraints:
        return "converged", "the objective has settled"
    return "converged", f"{kept}, and multipliers and objective have settled"


def _by(outcome: ConstraintOutcome) -> str:
    """By how much a constraint is violated, where it is on held-out data alone by how much there."""
    if outcome.held_out is not None and outcome.held_out.standing == "violated" and outcome.violation <= outcome.tolerance:
        return (
            f"on held-out data by {-outcome.held_out.slack:.4g} ± {outcome.held_out.error:.2g} ({outcome.held_out.images} images)"
        )
    return f"by {outcome.violation:.4g} ± {outcome.slack_error:.2g}"


def _kept(constraints: Mapping[str, ConstraintOutcome]) -> str:
    """What is known of constraints of which none is violated, in words."""
    undecided = [f"`{name}`" for name, each in constraints.items() if each.standing == "undecided"]
    if undecided:
        return f"no constraint is violated (undecided: {', '.join(undecided)})"
    return "every constraint is met" if constraints else ""


def _uneven(outcome: ConstraintOutcome) -> bool:
    """Whether a constraint has weight without being among the largest, which a solution of a minimax problem excludes."""
    tolerance = Z * outcome.slack_error + SETTLED * abs(outcome.budget)
    return outcome.kind == "minimax" and outcome.multiplier > SETTLED and outcome.slack > tolerance


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
