"""The cases of method.md §4 through the whole trainer in one process; bench_known_answers.py has all of them by the command."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dualsweep.trainer.checkpoint import CheckpointFolder
from dualsweep.trainer.dual.coordinator import InProcess
from dualsweep.trainer.engine.dual_side import controller_of
from dualsweep.trainer.engine.host import LocalHost
from dualsweep.trainer.engine.worker import run_worker
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.result import Result
from tests.known.cases import CASES
from tests.known.verdicts import judge
from tests.margins import Sampled

#: One of each kind where several are alike: the third reward of m = 3 does not bind, so that it has m = 2 in it. Products of
#: models are in `test_composition.py`.
HERE = [
    "alignment, m = 1", "alignment, m = 3", "alignment by policy gradient, m = 3", "alignment, resilient",
    "OR of disjoint components, m = 3", "minority classes",
    "point-wise KL on the line", "infeasible reward", "infeasible class",
]  # fmt: skip


def train(spec: Recipe, folder: Path, seed: int = 0) -> Result:
    spec = spec.model_copy(update={"seed": seed})
    torch.set_num_threads(1)
    host = LocalHost(InProcess(controller_of(spec)), CheckpointFolder(str(folder / "checkpoints")))
    result = run_worker(spec, host, str(folder))
    assert result is not None
    return result


@pytest.mark.parametrize("name", HERE)
def test_the_answer_is_the_exact_one(name: str, tmp_path: Path, sampled: Sampled) -> None:
    case = CASES[name]()
    judge(sampled, case.judge(train(case.recipe, tmp_path, sampled.seed).to_json()))
