"""A user's own dual rule and estimator, imported and held against what they must be, before the heavy libraries are."""

from __future__ import annotations

from collections.abc import Iterator

from dualsweep.trainer.config.diagnostics import Diagnostic, Keys
from dualsweep.trainer.config.import_path import CannotImportError, import_callable, takes
from dualsweep.trainer.dual.registry import rule_of
from dualsweep.trainer.dual.rule import DualRule
from dualsweep.trainer.recipe.formulation import SHAPES
from dualsweep.trainer.recipe.own_part import OwnPart
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.terms.own import WORD

_RULE_ARGUMENTS, _ESTIMATOR_ARGUMENTS = 5, 2


def step_parts(recipe: Recipe) -> dict[Keys, OwnPart]:
    """The terms and the estimator of the user's own, which each primal step asks, by where they stand."""
    holders: list[tuple[Keys, object]] = [(("constraints", at), each) for at, each in enumerate(recipe.constraints)]
    terms = {(*keys, WORD): getattr(holder, WORD, None) for keys, holder in [*holders, (("objective",), recipe.objective)]}
    parts = {**terms, ("rollout", "gradient"): recipe.rollout.gradient}
    return {keys: part for keys, part in parts.items() if isinstance(part, OwnPart)}


def own_part_faults(recipe: Recipe) -> Iterator[Diagnostic]:
    """What is wrong with the parts that the recipe names by `call`; their modules are imported, in this process."""
    if isinstance(recipe.dual.rule, OwnPart):
        yield from _rule_faults(recipe, recipe.dual.rule, ("dual", "rule"))
    if isinstance(recipe.rollout.gradient, OwnPart):
        yield from _estimator_faults(recipe.rollout.gradient, ("rollout", "gradient", "call"))
    if isinstance(recipe.train.optimizer, OwnPart):
        yield from _optimizer_faults(recipe.train.optimizer, ("train", "optimizer", "call"))


def _rule_faults(recipe: Recipe, part: OwnPart, keys: Keys) -> Iterator[Diagnostic]:
    rule = rule_of(part)
    if not callable(rule.move) or not takes(rule.move, _RULE_ARGUMENTS):
        needed = "must move by a function (multipliers, memory, slacks, gain, gains)"
        yield Diagnostic((*keys, "call"), needed, f"`{part}`, which cannot be called so", "change its parameters")
    yield from _rule_fits(recipe, rule, part, keys)


def _rule_fits(recipe: Recipe, rule: DualRule, part: OwnPart, keys: Keys) -> Iterator[Diagnostic]:
    """What `recipe/consistency/` asks of shipped rules by their words."""
    simplex = SHAPES[recipe.formulation].simplex
    if rule.on_simplex != simplex:
        needed = "on the simplex" if simplex else "not on the simplex"
        yield Diagnostic(keys, f"must be a rule {needed} with the formulation {recipe.formulation}", f"`{part}`", "change one")
    soft = [(("constraints", at, "alpha"), each.alpha) for at, each in enumerate(recipe.constraints)]
    for place, alpha in [(("dual", "alpha"), recipe.dual.alpha), *soft]:
        if alpha is not None and not rule.relaxes:
            yield Diagnostic(place, "must go with a rule that relaxes", f"`{part}`, which says that it does not", "drop alpha")


def _optimizer_faults(part: OwnPart, keys: Keys) -> Iterator[Diagnostic]:
    try:
        make = import_callable(part.call)
    except CannotImportError as error:
        yield error.diagnostic.at(keys)
        return
    if not takes(make, 1):
        needed = "must be called with (parameters, lr=…)"
        yield Diagnostic(keys, needed, f"`{part}`, which cannot be called so", "change its parameters")


def _estimator_faults(part: OwnPart, keys: Keys) -> Iterator[Diagnostic]:
    try:
        estimator = import_callable(part.call)
    except CannotImportError as error:
        yield error.diagnostic.at(keys)
        return
    missing = [name for name in ("begin_step", "companions", "updates") if not hasattr(estimator, name)]
    if missing or not takes(estimator, _ESTIMATOR_ARGUMENTS):
        received = f"`{part}` without {', '.join(missing)}" if missing else f"`{part}`, which cannot be made so"
        rule = "must be a class (source, setting) with begin_step, companions and updates"
        yield Diagnostic(keys, rule, received, "derive it from dualsweep.trainer.sources.rollout.PlainEstimator")
