"""What can be asked of shares: numbers from 0 to 1, that fit together, by a judge that there is."""

from __future__ import annotations

from collections.abc import Iterator

from dualsweep.trainer.config.diagnostics import RuleError
from dualsweep.trainer.config.wording import show
from dualsweep.trainer.data.class_names import composed
from dualsweep.trainer.recipe.fields import Constraint, Named, RecipeFields
from dualsweep.trainer.recipe.share import Share

#: By how much shares may sum above 1 by rounding.
_ROUNDING = 1e-9


def shares_are_shares(recipe: RecipeFields) -> None:
    for named, constraint, _ in _shares(recipe):
        where = f"constraints.{named.column - 1}"
        if constraint.relative_to is not None:
            raise RuleError(f"{where}.relative_to", "must be left out with a share", "objective", "drop it")
        if constraint.budget is not None and not 0 <= constraint.budget <= 1:
            percent = 1 < constraint.budget <= 100
            remedy = f"write {constraint.budget / 100:g} for {constraint.budget:g} %" if percent else "write e.g. 0.4"
            raise RuleError(f"{where}.{constraint.kind}", "must be a share from 0 to 1", constraint.budget, remedy)


def shares_sum_to_one(recipe: RecipeFields) -> None:
    """Of classes that one judge tells apart among the same samples, no more than all samples can be asked for."""
    asked: dict[object, dict[str, float]] = {}
    for named, constraint, share in _shares(recipe):
        if constraint.kind not in ("at_least", "equals") or constraint.budget is None or not 0 <= constraint.budget <= 1:
            continue
        if _may_be_attribute(recipe, share):
            continue  # a sample may have several
        samples = frozenset(str(each).casefold() for each in share.among or ())
        least = asked.setdefault((share.judged_by, samples), {})
        word = composed(str(share.of))
        least[word] = max(least.get(word, 0.0), constraint.budget)
        if sum(least.values()) > 1 + _ROUNDING:
            raise RuleError(
                f"constraints.{named.column - 1}.{constraint.kind}",
                "must leave shares that sum to 1 at most",
                f"{sum(least.values()):.6g} for {show(list(least))} together",
                "ask for less of some of them",
            )


def _may_be_attribute(recipe: RecipeFields, share: Share) -> bool:
    told = recipe.data.attributes if recipe.data is not None and share.calibration is None else None
    return isinstance(told, str) or (told is not None and str(share.of).partition("=")[0] in told)


def shares_have_a_judge(recipe: RecipeFields) -> None:
    for named in recipe.terms:
        share = named.value
        if not isinstance(share, Share):
            continue
        own = share.judge is None and recipe.evaluation.judge.call is None
        for key in ("classes", "calibration"):
            if own and getattr(share, key) is not None:
                rule, received = "must go with a judge of your own", "it without"
                raise RuleError(f"{named.where}.{key}", rule, received, "drop it, or write share.judge")
        if recipe.data is None and own:
            rule, remedy = "must have a judge where there are no data to train one on", "write share.judge, or give `data`"
            raise RuleError(named.where, rule, "neither", remedy)
        if recipe.data is None and share.calibration is None:
            rule = "must be labelled images that the judge has not seen, where there are no data"
            raise RuleError(f"{named.where}.calibration", rule, "none", "write e.g. calibration: my_data:faces")


def _shares(recipe: RecipeFields) -> Iterator[tuple[Named, Constraint, Share]]:
    for named in recipe.terms:
        if named.column and isinstance(named.value, Share):
            yield named, recipe.constraints[named.column - 1], named.value
