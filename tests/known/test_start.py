"""Runs that start from another one: at the same budgets they stay at the exact answer, at others they are there soon."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dualsweep.trainer.checkpoint import CheckpointFolder
from dualsweep.trainer.dual.coordinator import InProcess
from dualsweep.trainer.engine.dual_side import controller_of
from dualsweep.trainer.engine.host import LocalHost
from dualsweep.trainer.engine.worker import run_worker
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.result import Result
from tests.known.cases import aligned, exact_alignment
from tests.margins import Sampled

NAMES = ("first", "second")
Plain = dict[str, Any]


def train(plain: Plain, folder: Path) -> tuple[Result, np.ndarray, np.ndarray]:
    """The result, and before it the multipliers [points, m] and objectives [points] on the way."""
    torch.set_num_threads(1)
    spec = Recipe.model_validate(plain)
    host = LocalHost(InProcess(controller_of(spec)), CheckpointFolder(str(folder / "checkpoints")))
    result = run_worker(spec, host, str(folder))
    assert result is not None
    points = [point["metrics"] for report in host.reports for point in report["points"]][:-1]
    multipliers = np.array([[each[f"multiplier/{name}"] for name in NAMES] for each in points])
    return result, multipliers, np.array([each["objective"] for each in points])


@pytest.fixture(scope="module")
def converged(tmp_path_factory: pytest.TempPathFactory, seed_of_tests: int) -> tuple[Plain, str]:
    """The recipe of an alignment to two rewards, and its run."""
    folder, plain = tmp_path_factory.mktemp("converged"), aligned(2, "", "backpropagation", 600, 256) | {"seed": seed_of_tests}
    train(plain, folder)
    return plain, str(folder)


def short(plain: Plain, steps: int, rule: str = "ascent", **sections: Any) -> Plain:
    made = copy.deepcopy(plain) | sections
    made["dual"] |= {"rule": rule, "step_size": 0.02}
    made["train"] |= {"steps": steps, "log_every": 10}
    return made


@pytest.mark.parametrize("rule", ["ascent", "secant"])
def test_at_its_own_budgets_it_stays_at_the_answer(
    converged: tuple[Plain, str], tmp_path: Path, rule: str, sampled: Sampled
) -> None:
    plain, run = converged
    wanted, kl = exact_alignment(plain)
    result, multipliers, kls = train(short(plain, 50, rule, start={"from": run}), tmp_path)
    sampled.near("multipliers", multipliers / wanted, 1.0, abs=0.04)  # from the first point on
    sampled.near("KLs", kls / kl, 1.0, abs=0.04)
    sampled.near("KL at the end", result.objective, kl, rel=0.03)


def test_at_other_budgets_with_their_multipliers_it_is_there_soon(
    converged: tuple[Plain, str], tmp_path: Path, sampled: Sampled
) -> None:
    plain, run = copy.deepcopy(converged[0]), converged[1]
    for constraint in plain["constraints"]:
        constraint["at_least"] *= 0.8
    wanted, kl = exact_alignment(plain)
    warm, multipliers, kls = train(
        short(plain, 50, start={"from": run, "multipliers": dict(zip(NAMES, wanted.tolist(), strict=True))}), tmp_path / "warm"
    )
    sampled.near("multipliers", multipliers / wanted, 1.0, abs=0.05)
    sampled.near("last KLs", kls[-2:] / kl, 1.0, abs=0.05)
    sampled.near("KL at the end", warm.objective, kl, rel=0.05)
    cold, _, _ = train(short(plain, 50), tmp_path / "cold")
    sampled.at_most("KL of a cold start", cold.objective / kl, 0.7)
