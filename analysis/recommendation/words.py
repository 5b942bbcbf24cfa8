"""What one point of a front has over another, in words: only what is told from noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dualsweep.analysis.noise import APART
from dualsweep.analysis.recommendation.points import Points
from dualsweep.analysis.trials import SweepRecord, Trial


def going_on(points: Points, here: int, there: int) -> str:
    """What going on from one trial to another buys and costs."""
    name = points.trials[there].trial_id
    buys, costs = _differences(points, here, there)
    if not buys and not costs:
        return f"{name} is not told apart from it"
    unseen = "nothing that can be told from noise"
    return f"going on to {name} buys {listed(buys) if buys else unseen} and costs {listed(costs) if costs else unseen}"


def _differences(points: Points, here: int, there: int) -> tuple[list[str], list[str]]:
    """The objectives in which the other trial is better, and in which it is worse, each with by how much."""
    buys: list[str] = []
    costs: list[str] = []
    for k, name in enumerate(points.names):
        change = float(points.lower[there, k] - points.lower[here, k])
        if abs(change) > APART * float(np.hypot(points.errors[here, k], points.errors[there, k])):
            (buys if change < 0 else costs).append(f"{abs(change):.2g} of {name}")
    return buys, costs


def listed(parts: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def own_budgets(record: SweepRecord, trial: Trial) -> str:
    """A sentence that says so where a trial of the attained front is not known to meet the searched budgets it was given."""
    if record.required is None or trial.standing in ("met", None):
        return ""
    names = [f"`{each.name}`" for each in trial.constraints if each.standing == trial.standing]
    asked = "budget it was given" if len(names) == 1 else "budgets it was given"
    if trial.standing == "undecided":
        return f" Whether it meets the {asked} is undecided ({listed(names)}): it counts by what it attained."
    return f" It missed the {asked} ({listed(names)}): it counts by what it attained."


def sentences(parts: Sequence[str]) -> str:
    """Clauses as sentences."""
    return " ".join(f"{part[0].upper()}{part[1:]}." for part in parts if part)
