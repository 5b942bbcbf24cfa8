"""The constrained problem that a recipe states."""

from __future__ import annotations

import numpy as np

from dualsweep.trainer.dual.problem import ConstrainedProblem
from dualsweep.trainer.feasibility.defaults import tolerances
from dualsweep.trainer.feasibility.tolerance import Tolerance
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
