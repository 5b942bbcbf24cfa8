"""What moves the multipliers of a recipe: their policy, and the controller."""

from __future__ import annotations

import numpy as np

from dualsweep.trainer.amortised.policy import AmortisedMultipliers
from dualsweep.trainer.amortised.spread import MultiplierRange
from dualsweep.trainer.dual.controller import Controller
from dualsweep.trainer.dual.coordinator import DualController
from dualsweep.trainer.dual.reduction import Reduction
from dualsweep.trainer.engine.multiplier_policy import DualAscent, MultiplierPolicy
from dualsweep.trainer.engine.stated_problem import problem_of
from dualsweep.trainer.recipe.recipe import Recipe


def multiplier_policy_of(recipe: Recipe) -> MultiplierPolicy:
    """Which multipliers a training of this recipe has: the one place where that is decided."""
    problem, total = problem_of(recipe), max(1, recipe.train.steps // recipe.dual.every)
    if recipe.amortised is None:
        return DualAscent(Controller(problem, recipe.dual, total))
    return AmortisedMultipliers(multiplier_range_of(recipe), Reduction(problem, total), recipe.amortised.points)


def controller_of(recipe: Recipe) -> DualController:
    """What the coordinator of a training of this recipe does at each dual step."""
    return multiplier_policy_of(recipe).controller


def multiplier_range_of(recipe: Recipe) -> MultiplierRange:
    """The multipliers that an amortised training draws.

    Raises:
        ValueError: the recipe's is not amortised.
    """
    amortised = recipe.amortised
    if amortised is None:
        raise ValueError(f"a recipe must have `amortised` to draw multipliers, but {recipe.name} has none; ask its policy")
    problem = problem_of(recipe)
    low = [amortised.range_of(name).low for name in problem.names]
    high = [amortised.high_of(name, bool(relative)) for name, relative in zip(problem.names, problem.relative, strict=True)]
    return MultiplierRange(problem, np.array(low), np.array(high), amortised.zeros, recipe.seed)
