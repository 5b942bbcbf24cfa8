"""The tolerance of each constraint of a recipe: its own, or the default, by one rule for all trials of a sweep (docs/recipe.md).

Imports nothing heavy: bad input is answered before.
"""

from __future__ import annotations

from dualsweep.trainer.feasibility.tolerance import NORMALISED, OF_OBJECTIVE, SHARE, Tolerance
from dualsweep.trainer.recipe.recipe import Recipe


def tolerances(recipe: Recipe) -> dict[str, Tolerance | None]:
    """Each constraint's tolerance by its name: the recipe's own, else the default; None where there is nothing to take one from.

    Where the largest value is minimised nothing is required, and 0 stands whatever is given.
    """
    given, by_constraint = recipe.feasibility.tolerance, dict[str, Tolerance | None]()
    normalised = recipe.rollout.normalize
    words = {each.column: each.term for each in recipe.terms}
    for column, constraint in enumerate(recipe.constraints, start=1):
        own = given.get(constraint.name) if isinstance(given, dict) else given
        budget = constraint.budget
        if budget is None:
            by_constraint[constraint.name] = Tolerance(0.0)
        elif own is not None:
            by_constraint[constraint.name] = Tolerance(own)
        elif normalised and words[column].normalised:
            by_constraint[constraint.name] = Tolerance(NORMALISED)
        elif budget != 0:
            by_constraint[constraint.name] = Tolerance(SHARE * abs(budget))
        else:
            by_constraint[constraint.name] = Tolerance(OF_OBJECTIVE, of_objective=True) if constraint.relative_to else None
    return by_constraint


def without_tolerance(recipe: Recipe) -> list[str]:
    """The names of the constraints that have no default, and whose tolerance the recipe must give."""
    return [name for name, found in tolerances(recipe).items() if found is None]
