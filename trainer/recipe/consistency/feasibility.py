"""Which tolerances and which data a verdict on constraints may ask for."""

from __future__ import annotations

from dualsweep.trainer.config.diagnostics import RuleError
from dualsweep.trainer.recipe.fields import RecipeFields


def check_feasibility(recipe: RecipeFields) -> None:
    """Refuses tolerances of constraints that are not there, and held-out feasibility without held-out data.

    Raises:
        ValueError: saying the key, what was received and the way out.
    """
    spec, names = recipe.feasibility, [each.name for each in recipe.constraints]
    unknown = [name for name in spec.tolerance if name not in names] if isinstance(spec.tolerance, dict) else []
    if unknown:
        raise RuleError("feasibility.tolerance", "must name constraints of the recipe", unknown[0], f"write one of {names}")
    if spec.on == "held_out" and not (recipe.data is not None and recipe.data.holdout):
        raise RuleError(
            "feasibility.on", "must be training where no data are held out", "held_out", "write e.g. data.holdout: 0.1"
        )


def held_out_values_are_on_data(recipe: RecipeFields) -> None:
    """Values of samples have no held-out data to be judged on."""
    on_data = any(each.column for each in recipe.terms_on("data"))
    if recipe.feasibility.on == "held_out" and recipe.constraints and not on_data:
        raise RuleError(
            "feasibility.on", "must be training where no constraint is on data", "held_out", "drop it: samples are not held out"
        )
