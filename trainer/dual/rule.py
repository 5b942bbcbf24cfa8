"""What a dual rule is: a pure function from (multipliers, memory, slacks) to the next ones, and what it says of itself.

A step ascends the dual function, whose gradient in lambda_i is -s_i: a violated constraint (s_i < 0) becomes dearer. With
resilience the slacks given here are the relaxed ones, s + lambda / alpha ([RCL]), so every rule serves both. Projection, cap,
warm-up, relaxation and the domain of relative budgets are the controller's (docs/method.md).

Each rule is one file of `trainer/dual/rules/` that holds a `RULE`; nothing else names it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from dualsweep.trainer.dual.problem import Vector


@dataclass(frozen=True)
class Gains:
    """What a rule is set by. `step_size` is one number, or one for each constraint [m]; `own` has the values of its own keys."""

    step_size: float | Vector
    trust: float = 1.0
    own: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Move:
    """The unprojected multipliers [m] and the rule's memory [m] or [k, m] after one dual step.

    `target` [m] is where the dual function has its maximum as far as one step tells; None of a rule that has no view of that.
    """

    multipliers: Vector
    memory: Vector
    target: Vector | None = None


@dataclass(frozen=True)
class DualRule:
    """A dual rule.

    move          (multipliers [m], memory, slacks [m], gain, gains) -> where they move; a rule of second order is given
                  `second_order.Measured` in place of the slacks
    second_order  whether it is
    rows          m -> k, of a rule that remembers [k, m]; None of one that remembers [m], at first zeros as well
    keys          its own keys of `dual`: type and pydantic field by name
    on_simplex    whether its multipliers are weights that sum to 1, of problems that minimise their largest value
    relaxes       whether under it a budget may relax itself at a cost (`alpha`)
    step_size     (dual.step_size, softness [m], 1 / alpha) -> the step size that it moves by
    ahead         (multipliers [m], slacks [m], gain, gains) -> what primal steps apply in place of its multipliers, before
                  projection
    settles_by    how the errors of settled multipliers are told (`settling.py`): by their path, by `Move.target`, or not at all
    proportional  whether its multipliers move in proportion to `dual.step_size`, near a solution at least
    sized_by      the key of a recipe by which its steps are made larger or smaller
    """

    move: Callable[[Vector, Vector, Any, float, Gains], Move]
    second_order: bool = False
    rows: Callable[[int], int] | None = None
    keys: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    on_simplex: bool = False
    relaxes: bool = False
    step_size: Callable[[float | Vector, Vector], float | Vector] = lambda size, softness: size
    ahead: Callable[[Vector, Vector, float, Gains], Vector] | None = None
    settles_by: Literal["path", "targets", "nothing"] = "path"
    proportional: bool = False
    sized_by: Literal["dual.step_size", "dual.trust"] = "dual.step_size"
