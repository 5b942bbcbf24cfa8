"""What goes with one network for a whole range of multipliers."""

from __future__ import annotations

from dualsweep.trainer.config.diagnostics import RuleError
from dualsweep.trainer.recipe.fields import RecipeFields
from dualsweep.trainer.recipe.formulation import SHAPES
from dualsweep.trainer.recipe.rollout import BALANCING


def check_amortised(recipe: RecipeFields) -> None:
    """Refuses what has no front over multipliers >= 0, or no network that could learn it.

    Raises:
        ValueError: saying the key, what was received and the way out.
    """
    spec = recipe.amortised
    if spec is None:
        return
    if SHAPES[recipe.formulation].simplex or not recipe.constraints:
        found = f"the formulation {recipe.formulation}" if recipe.constraints else "no constraint"
        raise RuleError("amortised", "must go with constraints that have budgets", found, "drop it")
    names = [each.name for each in recipe.constraints]
    if unknown := [name for name in spec.by_constraint if name not in names]:
        raise RuleError("amortised.by_constraint", "must name constraints", f"{unknown[0]!r}", f"write one of {names}")
    for position, constraint in enumerate(recipe.constraints):
        if constraint.kind == "equals":
            raise RuleError(
                f"constraints.{position}.equals",
                "must be at_most or at_least with `amortised`, whose multipliers are not negative",
                constraint.budget,
                "write one of them, or drop `amortised`",
            )
    if recipe.start is not None and recipe.start.multipliers:
        raise RuleError(
            "start.multipliers",
            "must be left out with `amortised`, which draws its multipliers anew at each step",
            dict(recipe.start.multipliers),
            "drop them: weights are taken over without",
        )
    if recipe.train.batches != "mixture":
        raise RuleError("train.batches", "must be mixture with `amortised`", recipe.train.batches, "drop it")
    if recipe.rollout.gradient in BALANCING and recipe.terms_on("rollout"):
        raise RuleError(
            "rollout.gradient",
            "must be backpropagation or policy_gradient with `amortised`, since a flow is learned for one set of multipliers",
            recipe.rollout.gradient,
            "change it",
        )
