"""Trainings of the benchmark in this process, kept on disk by what determines them, and searches made of them."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import tempfile
import warnings
from pathlib import Path

import numpy as np
import optuna
import torch

from dualsweep.sweeps.planning.load import load_plan
from dualsweep.sweeps.planning.plan import Plan
from dualsweep.sweeps.records.trial_record import TrialRecord
from dualsweep.trainer.config.yaml_file import load
from dualsweep.trainer.result import Result
from tests.benchmarks.common import trained
from tests.benchmarks.searching import searched

HERE = Path(__file__).parent
#: The dense sweep's points along each budget.
DENSE = {"one": 33, "three": 5}


def plan_of(case: str, sampler: str = "random", seed: int = 0, continued: bool = False) -> Plan:
    """The sweep file `case`.yaml with a sampler."""
    asked = ["continuation=true"] if continued else []
    return load_plan(HERE / f"{case}.yaml", [f"sampler={{name: {sampler}, seed: {seed}}}", *asked])


def training(plan: Plan, params: dict[str, float], cache: Path) -> Result:
    """One training, from the cache where it was run before: results are kept by the recipe's file and the budgets."""
    recipe = plan.trial_recipe(params)
    budgets = [each.budget for each in recipe.constraints]
    key = hashlib.sha256(json.dumps([load(HERE / "recipe.yaml").data, budgets], sort_keys=True, default=str).encode()).hexdigest()
    file = cache / f"{key[:24]}.json"
    if file.exists():
        return Result.from_json(json.loads(file.read_text()))
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="dualsweep-bench-") as folder:
        result = trained(recipe, Path(folder))
    cache.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(f".{os.getpid()}.part")
    part.write_text(json.dumps(result.to_json()))
    part.replace(file)
    return result


def search(case: str, sampler: str, continued: bool, seed: int, trials: int, cache: Path) -> list[TrialRecord]:
    """The first trials of a sweep, asked of the sweep's own sampler one by one; `continued` as by `continuation: true`."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    plan = plan_of(case, sampler, seed, continued)
    folder = cache / "searches" / "-".join([case, sampler, *(["continued"] if continued else []), str(seed)])
    kept = None if continued else lambda asked: training(plan, asked.params, cache)
    return searched(plan, folder, trials, kept)


def dense_points(case: str) -> list[dict[str, float]]:
    """The dense sweep's budgets: a grid over the box, its corners among it."""
    kinds = {each.name: each.kind for each in plan_of(case).parameters}
    axes = [[round(kind.at(share), 6) for share in np.linspace(0.0, 1.0, DENSE[case])] for kind in kinds.values()]
    return [dict(zip(kinds, point, strict=True)) for point in itertools.product(*axes)]


def dense_trial(case: str, point: dict[str, float], cache: Path) -> Result:
    """The training at one of them."""
    return training(plan_of(case), point, cache)
