"""What the dual side of a recipe is: its constrained problem, who moves the multipliers, and the range of an amortised one."""

from __future__ import annotations

import numpy as np

from dualsweep.trainer.amortised.spread import MultiplierRange
from dualsweep.trainer.dual.controller import Controller
from dualsweep.trainer.dual.problem import RELATIVE_LIMIT, ConstrainedProblem
from dualsweep.trainer.feasibility.defaults import tolerances
from dualsweep.trainer.feasibility.tolerance import Tolerance
from dualsweep.trainer.recipe.dual import Dual
from dualsweep.trainer.recipe.formulation import SHAPES
from dualsweep.trainer.recipe.recipe import Recipe


def problem_of(recipe: Recipe) -> ConstrainedProblem:
    """The constrained problem that a recipe states; where the largest value is minimised its budgets are NaN."""
    constraints = recipe.constraints
    alphas = [constraint.alpha or recipe.dual.alpha for constraint in constraints]
    budgets = [np.nan if constraint.budget is None else constraint.budget for constraint in constraints]
    return ConstrainedProblem(
        names=tuple(constraint.name for constraint in constraints),
        budgets=np.array(budgets, dtype=np.float64),
        relative=np.array([constraint.relative_to is not None for constraint in constraints], dtype=np.bool_),
        kinds=tuple(constraint.kind for constraint in constraints),
        softness=np.array([1.0 / alpha if alpha else 0.0 for alpha in alphas], dtype=np.float64),
        simplex=SHAPES[recipe.formulation].simplex,
        maximize=recipe.maximizes,
        tilts=np.array([term.term.tilts for term in recipe.terms if term.column], dtype=np.bool_),
        tolerances=tuple(tolerance or Tolerance(0.0) for tolerance in tolerances(recipe).values()),
        confidence=recipe.feasibility.confidence,
    )


def controller_of(recipe: Recipe) -> Controller:
    """The controller of a recipe's whole run; of an amortised one it only reduces, for there are no multipliers to move."""
    dual = recipe.dual
    if recipe.amortised is not None:
        dual = Dual(rule="fixed", every=dual.every, staleness=dual.staleness)
    return Controller(problem_of(recipe), dual, total=max(1, recipe.train.steps // dual.every))


def multiplier_range_of(recipe: Recipe) -> MultiplierRange | None:
    """The multipliers that an amortised training draws; None of a recipe that is not amortised."""
    spec = recipe.amortised
    if spec is None:
        return None
    ranges = [spec.range_of(constraint.name) for constraint in recipe.constraints]
    problem = problem_of(recipe)
    high = np.array([each.high for each in ranges])
    high = np.where(problem.relative, np.minimum(high, RELATIVE_LIMIT), high)
    return MultiplierRange(problem, np.array([each.low for each in ranges]), high, spec.zeros, recipe.seed)
