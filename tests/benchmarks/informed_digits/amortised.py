"""One training for the whole front in place of a sweep: what models at budgets read off it attain."""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
from pathlib import Path

import numpy as np
import torch

from dualsweep.trainer.amortised.front import AmortisedFront, FrontPoint, front_in
from dualsweep.trainer.amortised.measure import measured_at
from dualsweep.trainer.recipe.amortised import Amortised
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.result import Z
from tests.benchmarks.common import trained
from tests.benchmarks.informed_digits.trials import plan_of
from tests.benchmarks.informed_digits.volumes import Vector

#: Its steps, in those of one trial: what `amortised: true` takes in a sweep.
TRIALS = 3
_BUILD = "tests.benchmarks.informed_digits.network:conditioned"


def amortised(case: str, seed: int, budgets: Vector, cache: Path) -> list[FrontPoint]:
    """The network's points at multipliers that lead to `budgets` [n, 3], as far as its range reaches them; kept in the cache.

    They keep their budgets within `Z` standard errors, as feasible trials do.
    """
    file = cache / f"amortised-{case}-{seed}-{len(budgets)}.json"
    if not file.exists():
        torch.set_num_threads(1)
        with tempfile.TemporaryDirectory(prefix="dualsweep-bench-") as folder:
            recipe = _recipe(case, seed)
            trained(recipe, Path(folder))
            points = _points(folder, budgets)
        cache.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(f".{os.getpid()}.part")
        part.write_text(json.dumps([dataclasses.asdict(each) for each in points]))
        part.replace(file)
    return [FrontPoint(**each) for each in json.loads(file.read_text())]


def _recipe(case: str, seed: int) -> Recipe:
    base = plan_of(case).recipe
    model, train = base.model.model_copy(update={"call": _BUILD}), base.train
    longer = train.model_copy(update={"steps": TRIALS * train.steps})
    return base.model_copy(update={"model": model, "train": longer, "seed": seed, "amortised": Amortised()})


def _points(folder: str, budgets: Vector) -> list[FrontPoint]:
    front = front_in(folder)
    assert front is not None
    reached = [(budget, found) for budget in budgets if (found := _multipliers(front, budget)) is not None]
    points = measured_at(folder, np.array([found for _, found in reached]))
    return [point for (budget, _), point in zip(reached, points, strict=True) if _keeps(front, point, budget)]


def _multipliers(front: AmortisedFront, budget: Vector) -> list[float] | None:
    try:
        found = front.multipliers_for(dict(zip(front.names, budget.tolist(), strict=True)))
    except ValueError:  # tighter than the range of the multipliers reaches
        return None
    return [found[name] for name in front.names]


def _keeps(front: AmortisedFront, point: FrontPoint, budget: Vector) -> bool:
    return all(
        point.values[name] <= bound + Z * point.value_errors[name] for name, bound in zip(front.names, budget, strict=True)
    )
