"""Budgets that no model can meet, or whose multipliers never settle: warned of, since such constraints press all the same."""

from __future__ import annotations

from collections.abc import Iterator

from dualsweep.trainer.config.diagnostics import Diagnostic
from dualsweep.trainer.config.wording import show
from dualsweep.trainer.recipe.recipe import Recipe

#: Rules whose step is the slack's times `step_size`.
PLAIN = ("ascent", "resilient")


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


def swing_warnings(recipe: Recipe) -> Iterator[Diagnostic]:
    """Plain dual steps that are too long for a relaxed budget: without end its multiplier swings (docs/method.md, resilience)."""
    dual, size = recipe.dual, recipe.dual.step_size
    for constraint in recipe.constraints if dual.rule in PLAIN else ():
        alpha = constraint.alpha if constraint.alpha is not None else dual.alpha
        own = size.get(constraint.name) if isinstance(size, dict) else size
        if alpha is not None and own is not None and own >= 2 * alpha:
            keys = ("dual", "step_size", constraint.name) if isinstance(size, dict) else ("dual", "step_size")
            rule = "should be below 2 alpha, beyond which a multiplier swings"
            received = f"{own:g} with alpha {alpha:g} of {constraint.name}"
            yield Diagnostic(keys, rule, received, f"write less than {2 * alpha:g}, or a larger alpha")
            if not isinstance(size, dict):
                return
