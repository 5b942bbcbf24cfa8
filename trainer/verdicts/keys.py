"""Which keys of a recipe sharpen what a constraint is measured with, so that advice names keys that this recipe uses."""

from __future__ import annotations

from dualsweep.trainer.recipe.recipe import Recipe


def measured_by(recipe: Recipe) -> dict[str, str]:
    """By constraint, the keys in whose values its slack gets more samples in training, as people read them."""
    by_constraint = {}
    for named in recipe.terms:
        if named.column:
            by_constraint[recipe.constraints[named.column - 1].name] = _keys(recipe, named.term.source)
    return by_constraint


def _keys(recipe: Recipe, source: str) -> str:
    if source == "rollout":
        return "rollout.batch_size"
    if source != "data" or recipe.model.compose is not None:
        return "train.batch_size"
    if recipe.train.batches == "separate":
        return "train.constraint_batch"
    return "train.batch_size" if recipe.amortised is not None else "train.batch_size, train.floor"
