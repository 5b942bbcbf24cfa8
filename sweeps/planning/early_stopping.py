"""What a sweep must have for its trials to be stopped early. Imports nothing heavy: bad input is answered before."""

from __future__ import annotations

from collections.abc import Sequence

from dualsweep.sweeps.planning.schema import EarlyStopping
from dualsweep.trainer.config.diagnostics import Diagnostic
from dualsweep.trainer.recipe.load import OverlaidDocument
from dualsweep.trainer.recipe.recipe import Recipe

#: Metrics of the points in training, by their first word; all others come with the final evaluation.
_IN_TRAINING = ("objective", "lagrangian", "value", "slack", "multiplier", "violation")


def applicable(asked: EarlyStopping, recipe: Recipe, objectives: Sequence[str]) -> EarlyStopping | None:
    """The rules that can tell anything of this recipe's trials; None where none can."""
    bounded = any(each.kind != "minimax" for each in recipe.constraints)
    measured = not _later(objectives)
    if not (asked.infeasible and bounded) and not (measured and (asked.dominated or asked.halving)):
        return None
    return EarlyStopping(
        infeasible=asked.infeasible and bounded,
        dominated=asked.dominated if measured else None,
        halving=asked.halving if measured else None,
    )


def check_early_stopping(
    document: OverlaidDocument, asked: EarlyStopping | None, recipe: Recipe, objectives: Sequence[str]
) -> list[Diagnostic]:
    """Rules that can never stop a trial of this recipe: what they go by is not there, or comes too late."""
    if asked is None:
        return []
    key = "early_stopping"
    usable = applicable(asked, recipe, objectives)
    missing = [
        name for name in ("infeasible", "dominated", "halving") if getattr(asked, name) and not (usable and getattr(usable, name))
    ]
    if not missing or (document.data.get(key) is True and usable is not None):
        return []
    if "infeasible" in missing and document.data.get(key) is not True:
        rule, received = "must come with a constraint that has a budget", "a recipe without one"
        return [document.diagnostic((key, "infeasible"), rule, received, "drop it, or bound something")]
    late = ", ".join(f"`{each}`" for each in _later(objectives))
    keys = (key,) if document.data.get(key) is True else (key, missing[0])
    rule = "must have objectives that are measured in training"
    return [
        document.diagnostic(keys, rule, f"{late}, known at the end alone", "take other objectives, or the rule infeasible alone")
    ]


def _later(objectives: Sequence[str]) -> list[str]:
    """The objectives that a trial does not know before its end."""
    return [each for each in objectives if each.split("/")[0] not in _IN_TRAINING]
