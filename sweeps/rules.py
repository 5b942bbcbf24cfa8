"""What a sweep must keep to that its schema and its search cannot tell: its keys among each other, and with its recipe.

Imports nothing heavy: bad input is answered before.
"""

from __future__ import annotations

from collections.abc import Sequence

from sweeps.schema import EarlyStopping
from sweeps.search import Parameter
from trainer.documents import nearest, show
from trainer.errors import Problem
from trainer.load import Layered
from trainer.recipe import Recipe

#: Points of a trial below which a trend tells nothing in time.
LEAST_POINTS = 20
#: Metrics of the points in training, by their first word; all others come with the final evaluation.
_IN_TRAINING = ("objective", "lagrangian", "value", "slack", "multiplier", "violation")


def check_direction(document: Layered, recipe: Layered) -> list[Problem]:
    """The front looks for what the trials look for."""
    objectives, own = document.data.get("objectives"), recipe.data.get("objective")
    asked = objectives.get("objective") if isinstance(objectives, dict) else None
    wanted = "maximize" if isinstance(own, dict) and own.get("maximize") is True else "minimize"
    if asked not in ("minimize", "maximize") or asked == wanted:
        return []
    return [document.problem(("objectives", "objective"), f"must be the recipe's direction, {wanted}", asked, f"write {wanted}")]


def check_objectives(document: Layered, names: Sequence[str]) -> list[Problem]:
    """Metrics that no run of this recipe can have, and a reference point of another length."""
    problems = []
    objectives, point = document.data.get("objectives"), document.data.get("reference_point")
    objectives = objectives if isinstance(objectives, dict) else {}
    known = ["objective", "lagrangian", *(["value/max", "violation/max"] if names else [])]
    known += [f"{prefix}/{name}" for prefix in ("value", "slack", "multiplier") for name in names]
    for metric in map(str, objectives):
        own = "/" not in metric or metric.split("/")[0] in ("value", "slack", "multiplier", "violation")
        if own and metric not in known:
            way_out = f"{nearest(metric, known)}, or a metric of the evaluation, `eval/...`"
            problems.append(
                document.problem(("objectives", metric), "must be a metric of the recipe's runs", f"`{metric}`", way_out)
            )
    count = len(objectives) or (2 if names else 1)
    if isinstance(point, list) and len(point) != count:
        rule = f"must hold one number for each of the {count} objectives"
        problems.append(document.problem(("reference_point",), rule, show(point), "write one number for each, in their order"))
    return problems


def check_seeds(document: Layered, count: int, first: int, parameters: Sequence[Parameter]) -> list[Problem]:
    """Trainings of one trial differ by their seeds, which nothing else may set."""
    if count > 1 and any(each.name == "seed" for each in parameters):
        rule, way_out = "must be 1 where the search varies `seed`", "drop `seed` from the search, or `seeds`"
        return [document.problem(("seeds",), rule, str(count), way_out)]
    if first + count > 2**31:
        rule, way_out = "must leave every seed below 2147483648", "lower the recipe's `seed`"
        return [document.problem(("seeds",), rule, f"{count} from {first} on", way_out)]
    return []


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


def check_early_stopping(document: Layered, asked: EarlyStopping, recipe: Recipe, objectives: Sequence[str]) -> list[Problem]:
    """Rules that can never stop a trial of this recipe: what they go by is not there, or comes too late."""
    key = "early_stopping"
    points = recipe.train.steps // recipe.train.log_every
    if points < LEAST_POINTS:
        received = f"{points} (train.steps {recipe.train.steps} by train.log_every {recipe.train.log_every})"
        way_out = f"write train.log_every {max(1, recipe.train.steps // LEAST_POINTS)}, or drop `{key}`"
        return [document.problem((key,), f"must have at least {LEAST_POINTS} points of a trial to go by", received, way_out)]
    found = applicable(asked, recipe, objectives)
    missing = [
        name for name in ("infeasible", "dominated", "halving") if getattr(asked, name) and not (found and getattr(found, name))
    ]
    if not missing or (document.data.get(key) is True and found is not None):
        return []
    if "infeasible" in missing and document.data.get(key) is not True:
        rule, received = "must come with a constraint that has a budget", "a recipe without one"
        return [document.problem((key, "infeasible"), rule, received, "drop it, or bound something")]
    late = ", ".join(f"`{each}`" for each in _later(objectives))
    keys = (key,) if document.data.get(key) is True else (key, missing[0])
    rule = "must have objectives that are measured in training"
    return [
        document.problem(keys, rule, f"{late}, known at the end alone", "take other objectives, or the rule infeasible alone")
    ]


def _later(objectives: Sequence[str]) -> list[str]:
    """The objectives that a trial does not know before its end."""
    return [each for each in objectives if each.split("/")[0] not in _IN_TRAINING]
