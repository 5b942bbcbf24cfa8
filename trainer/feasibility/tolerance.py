"""How far a constraint may miss its budget and still count as met.

At an optimum a budget that binds has slack 0, so without a tolerance a perfect model could never be shown to meet it. One rule
holds for all trials of a sweep (docs/recipe.md). Imports nothing heavy: bad input is answered before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from trainer.recipe import Recipe

#: The default tolerance: of the searched range, else of the budget's absolute value.
SHARE = 0.02
#: Of a budget of 0 relative to the objective: this share of the objective.
OF_OBJECTIVE = 0.01
#: Of a normalised reward, in standard deviations under the pretrained model.
NORMALISED = 0.05


class Tolerance(NamedTuple):
    """`amount` in the constraint's unit, or with `of_objective` a share of the objective's absolute value."""

    amount: float
    of_objective: bool = False

    def at(self, objective: float) -> float:
        """The tolerance in the constraint's unit where the objective has this value."""
        return self.amount * abs(objective) if self.of_objective else self.amount

    def __str__(self) -> str:
        return f"{100 * self.amount:g} % of the objective" if self.of_objective else f"{self.amount:.3g}"


def tolerances(recipe: Recipe) -> dict[str, Tolerance | None]:
    """Each constraint's tolerance by its name: the recipe's own, else the default; None where there is nothing to take one from.

    Where the largest value is minimised nothing is required, and 0 stands.
    """
    given, found = recipe.feasibility.tolerance, dict[str, Tolerance | None]()
    normalised = recipe.rollout.normalize
    words = {each.column: each.term for each in recipe.terms}
    for column, constraint in enumerate(recipe.constraints, start=1):
        own = given.get(constraint.name) if isinstance(given, dict) else given
        budget = constraint.budget
        if own is not None:
            found[constraint.name] = Tolerance(own)
        elif normalised and words[column].normalised:
            found[constraint.name] = Tolerance(NORMALISED)
        elif budget is None or budget != 0:
            found[constraint.name] = Tolerance(SHARE * abs(budget or 0.0))
        else:
            found[constraint.name] = Tolerance(OF_OBJECTIVE, of_objective=True) if constraint.relative_to else None
    return found


def without_tolerance(recipe: Recipe) -> list[str]:
    """The names of the constraints that have no default, and whose tolerance the recipe must give."""
    return [name for name, found in tolerances(recipe).items() if found is None]
