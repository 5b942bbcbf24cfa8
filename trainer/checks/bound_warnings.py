"""Budgets that no model can meet: told as a warning, since such a constraint still presses as hard as it can."""

from __future__ import annotations

from collections.abc import Iterator

from dualsweep.trainer.config.diagnostics import Diagnostic
from dualsweep.trainer.config.wording import show
from dualsweep.trainer.recipe.recipe import Recipe


def bound_warnings(recipe: Recipe) -> Iterator[Diagnostic]:
    """Budgets outside of what the values of their terms can be, whatever the model is."""
    for position, constraint in enumerate(recipe.constraints):
        (spec, value), budget = constraint.named, constraint.budget
        if budget is None or constraint.relative_to is not None or (spec.normalised and recipe.rollout.normalize):
            continue
        low, high = spec.between(value)
        if (budget < low and constraint.kind != "at_least") or (budget > high and constraint.kind != "at_most"):
            rule = "should be a budget that a model can meet"
            way, edge = ("below", low) if budget < low else ("above", high)
            received = f"{show(budget)} of {spec.word}, which is never {way} {edge:g}"
            remedy = f"write one of at {'least' if budget < low else 'most'} {edge:g}"
            yield Diagnostic(("constraints", position, constraint.kind), rule, received, remedy)
