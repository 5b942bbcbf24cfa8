"""Memory that runs out: of the CPU as the system refuses it, of a GPU as torch words it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dualsweep.trainer.checkpoint import CheckpointFolder
from dualsweep.trainer.dual.coordinator import InProcess
from dualsweep.trainer.engine.dual_side import controller_of
from dualsweep.trainer.engine.host import LocalHost
from dualsweep.trainer.engine.worker import run_worker
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.recipe.recipe import Recipe
from tests.sweeps.in_process import RECIPE
from tests.trainer.conftest import WriteModule

MODULE = """
import torch

class Net(torch.nn.Module):
    def __init__(self, form):
        super().__init__()
        self.layer, self.form, self.learned = torch.nn.Conv2d(1, 1, 3, padding=1), form, False

    def forward(self, x, t):
        if self.form == "cpu" and self.training:
            torch.empty(1 << 55)
        if self.form == "gpu" and self.training:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has ...\\nand more")
        if self.form == "samples" and self.learned and not self.training:
            torch.empty(1 << 55)
        self.learned = self.training
        if self.form == "other":
            raise RuntimeError("the size of tensor a must match")
        return self.layer(x)

cpu, gpu, samples, other = (lambda form=form: Net(form) for form in ("cpu", "gpu", "samples", "other"))
large = lambda: torch.nn.Linear(1 << 26, 1 << 26)
"""


def run(path: str, folder: Path, resources: dict[str, Any] | None = None, **train: Any) -> None:
    plain = {**RECIPE, "model": {"call": path}, "train": {**RECIPE["train"], **train}, "evaluation": {"samples": 4}}
    plain["resources"] = resources or {}
    recipe = Recipe.model_validate(plain)
    run_worker(recipe, LocalHost(InProcess(controller_of(recipe)), CheckpointFolder(str(folder / "checkpoints"))), str(folder))


@pytest.mark.parametrize(
    ("form", "doing", "said", "ways"),
    [
        (
            "cpu",
            "a primal step",
            "can't allocate memory",
            ["train.accumulate: 2", "train.checkpointing: true", "train.batch_size below 16"],
        ),
        ("gpu", "a primal step", "CUDA out of memory", ["train.accumulate: 2", "train.checkpointing: true"]),
        ("samples", "the evaluation", "can't allocate memory", ["evaluation.batch_size below 250"]),
        (
            "large",
            "the model",
            "can't allocate memory",
            ["a smaller model", "model.lora", "resources: {workers: 2, parallel: fsdp}"],
        ),
    ],
)
def test_it_says_which_keys_ask_for_less(
    form: str, doing: str, said: str, ways: list[str], tmp_path: Path, module: WriteModule
) -> None:
    with pytest.raises(TrainingError) as told:
        run(module("roomy", MODULE) + f":{form}", tmp_path)
    text = str(told.value)
    assert text.startswith(f"{doing} must fit into the memory of a worker, but got `") and said in text and "\n" not in text
    assert all(way in text for way in ways) and "check --estimate" in text


def test_keys_that_are_used_already_are_not_advised(tmp_path: Path, module: WriteModule) -> None:
    with pytest.raises(TrainingError) as told:
        run(module("roomy", MODULE) + ":cpu", tmp_path, accumulate=4, precision="fp32")
    assert "train.accumulate: 8" in str(told.value) and "train.precision: auto" in str(told.value)


@pytest.mark.parametrize(
    ("given", "advised"),
    [([1, 2], "{workers: 2, parallel: fsdp}"), ([1, 4], "{workers: [2, 4], parallel: fsdp}"), ([3, 3], "{workers: 3, parallel")],
)
def test_as_many_workers_are_advised_as_may_be(
    given: list[int], advised: str, tmp_path: Path, module: WriteModule
) -> None:  # fmt: skip
    with pytest.raises(TrainingError, match="must fit into the memory") as told:
        run(module("roomy", MODULE) + ":cpu", tmp_path, {"workers": given})
    assert advised in str(told.value)


def test_other_errors_are_left_alone(tmp_path: Path, module: WriteModule) -> None:
    with pytest.raises(Exception, match="the size of tensor a must match") as told:
        run(module("roomy", MODULE) + ":other", tmp_path)
    assert "memory" not in str(told.value)
