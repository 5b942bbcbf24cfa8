"""What a sweep must keep to that its schema and its search cannot tell: its keys among each other, and with its recipe.

Imports nothing heavy: bad input is answered before.
"""

from __future__ import annotations

from collections.abc import Sequence

from sweeps.search import Parameter
from trainer.documents import nearest, show
from trainer.errors import Problem
from trainer.load import Layered


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
