"""Trainings of the benchmark in this process, kept on disk by what determines them, and searches made of them."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
import tempfile
import warnings
from pathlib import Path

import numpy as np
import optuna
import torch

from sweeps.informed import report
from sweeps.planning.load import load_plan
from sweeps.planning.plan import Plan
from sweeps.studies.informing import outcome_of
from sweeps.studies.samplers import distributions, sampler_for
from trainer.checkpoint import CheckpointFolder
from trainer.coordinator import InProcess
from trainer.documents import load
from trainer.dual.controller import controller_of
from trainer.host import LocalHost
from trainer.outcome import Result
from trainer.work import work

HERE = Path(__file__).parent
#: The dense sweep's points along each budget.
DENSE = {"one": 33, "three": 5}


def plan_of(case: str, sampler: str = "random", seed: int = 0) -> Plan:
    """The sweep file `case`.yaml with a sampler; `dual_informed` goes on where it would end by itself."""
    return load_plan(HERE / f"{case}.yaml", [f"sampler={{name: {sampler}, seed: {seed}}}"])


def trained(plan: Plan, params: dict[str, float], cache: Path) -> Result:
    """One training, from the cache where it was run before: results are kept by the recipe's file and the budgets."""
    recipe = plan.trial_recipe(params)
    budgets = [each.budget for each in recipe.constraints]
    key = hashlib.sha256(json.dumps([load(HERE / "recipe.yaml").data, budgets], sort_keys=True, default=str).encode()).hexdigest()
    file = cache / f"{key[:24]}.json"
    if file.exists():
        return Result.from_json(json.loads(file.read_text()))
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="dualsweep-bench-") as folder:
        host = LocalHost(InProcess(controller_of(recipe)), CheckpointFolder(f"{folder}/checkpoints"))
        result = work(recipe, host, folder)
    assert result is not None
    cache.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(f".{os.getpid()}.part")
    part.write_text(json.dumps(result.to_json()))
    part.replace(file)
    return result


def search(case: str, sampler: str, seed: int, trials: int, cache: Path) -> list[tuple[dict[str, float], Result]]:
    """The first trials of a sweep, asked of the sweep's own sampler one by one: parameters and result of each."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    plan = plan_of(case, sampler, seed)
    study = optuna.create_study(directions=list(plan.objectives.values()))
    found = []
    for number in range(trials):
        study.sampler = sampler_for(plan, number)
        trial = study.ask(distributions(plan))
        result = trained(plan, trial.params, cache)
        _tell(plan, study, trial, result)
        found.append((dict(trial.params), result))
    return found


def _tell(plan: Plan, study: optuna.Study, trial: optuna.Trial, result: Result) -> None:
    """As a sweep tells its study: constraints, the outcome that `dual_informed` reads, and the objectives."""
    values = [result.metrics.get(name, math.nan) for name in plan.objectives]
    outcome = outcome_of(plan, result)
    slacks = {name: each.slack for name, each in result.constraints.items()}
    if not all(map(math.isfinite, [*values, *slacks.values()])):
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
        return
    for name, slack in slacks.items():
        trial.set_constraint(name, -slack)
    if outcome is not None:
        report(trial, outcome)
    study.tell(trial, values)


def dense_points(case: str) -> list[dict[str, float]]:
    """The dense sweep's budgets: a grid over the box, its corners among it."""
    kinds = {each.name: each.kind for each in plan_of(case).parameters}
    axes = [[round(kind.at(share), 6) for share in np.linspace(0.0, 1.0, DENSE[case])] for kind in kinds.values()]
    return [dict(zip(kinds, point, strict=True)) for point in itertools.product(*axes)]


def dense_trial(case: str, point: dict[str, float], cache: Path) -> Result:
    """The training at one of them."""
    return trained(plan_of(case), point, cache)
