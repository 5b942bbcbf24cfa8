"""Memory that runs out: of the CPU as the system refuses it, of a GPU as torch words it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from dualsweep.trainer.checkpoint import CheckpointFolder
from dualsweep.trainer.dual.coordinator import InProcess
from dualsweep.trainer.engine.assembly import prepare
from dualsweep.trainer.engine.dual_side import controller_of
from dualsweep.trainer.engine.host import LocalHost
from dualsweep.trainer.engine.room import Doing, room_for
from dualsweep.trainer.engine.sample_command import find_checkpoint, generate
from dualsweep.trainer.engine.worker import run_worker
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.recipe.recipe import Recipe
from tests.sweeps.in_process import RECIPE
from tests.trainer.conftest import WriteModule
from tests.trainer.models.test_build import host_in
from tests.trainer.recipe.test_formulations import ALIGNMENT, AND, COMBINED, OR
from tests.trainer.recipes import digits

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
        if self.form == "sampled" and len(x) == 16:
            torch.empty(1 << 55)
        if self.form == "thirteen" and len(x) == 13:
            torch.empty(1 << 55)
        self.learned = self.training
        if self.form == "other":
            raise RuntimeError("the size of tensor a must match")
        return self.layer(x)

forms = ("cpu", "gpu", "samples", "sampled", "thirteen", "other")
cpu, gpu, samples, sampled, thirteen, other = (lambda form=form: Net(form) for form in forms)
large = lambda: torch.nn.Linear(1 << 26, 1 << 26)
"""


def run(path: str, folder: Path, sections: dict[str, Any] | None = None, **train: Any) -> None:
    plain = {**RECIPE, "model": {"call": path}, "train": {**RECIPE["train"], **train}, "evaluation": {"samples": 4}}
    plain |= sections or {}
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
            ["a smaller model", "resources: {workers: 2, parallel: fsdp}"],
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
        run(module("roomy", MODULE) + ":cpu", tmp_path, {"resources": {"workers": given}})
    assert advised in str(told.value)


def test_other_errors_are_left_alone(tmp_path: Path, module: WriteModule) -> None:
    with pytest.raises(Exception, match="the size of tensor a must match") as told:
        run(module("roomy", MODULE) + ":other", tmp_path)
    assert "memory" not in str(told.value)


LOADED: dict[str, Any] = {"unet": None, "load": "google/ddpm-cifar10-32"}
KINDS: dict[str, dict[str, Any]] = {
    "data": {},
    "two samples a piece": {"train": {"batch_size": 8, "accumulate": 4}},
    "one sample a piece": {"train": {"batch_size": 8, "accumulate": 8}},
    "one sample a worker": {"train": {"batch_size": 8}, "resources": {"workers": 8}},
    "elastic": {"resources": {"workers": [1, 3]}},
    "full precision": {"train": {"precision": "fp32"}},
    "fp16": {"train": {"precision": "fp16"}},
    "compiled": {"train": {"compile": True}},
    "own optimiser": {"train": {"optimizer": {"call": "torch.optim:SGD"}}},
    "amortised": {"amortised": {}, "constraints": [{"name": "four", "data": {"classes": [4]}, "at_most": 0.5}]},
    "loaded": {"model": LOADED},
    "an adapter": {"model": {**LOADED, "lora": {"rank": 2}}},
    "shards": {"resources": {"workers": 2, "parallel": "fsdp"}, "evaluation": {"samples": 0}},
    "shards of a loaded model": {"model": LOADED, "resources": {"workers": 2, "parallel": "fsdp"}},
    "the least samples": {"evaluation": {"samples": 1, "loss_draws": 2, "batch_size": 1}},
    "alignment": ALIGNMENT,
    "alignment that computes again": {
        **ALIGNMENT, "rollout": {**ALIGNMENT["rollout"], "activation_checkpointing": True}, "train": {"checkpointing": True},
    },
    "black box": {**ALIGNMENT, "rollout": {**ALIGNMENT["rollout"], "gradient": "dag"}},
    "product": AND,
    "mixture": OR,
    "composed": {**AND, "model": {"unet": None, "compose": {"of": ["a", "b"]}}, "train": {"precision": "fp32", "lr": 1e-3}},
    "combined": COMBINED,
}  # fmt: skip
ADVICE = re.compile(r"(\w+)\.(\w+)(: (\w+)| below (\d+))|resources: (\{.*?\})|(model)\.(lora)")


def told(doing: Doing, recipe: Recipe) -> str:
    with pytest.raises(TrainingError) as said, room_for(doing, recipe):
        raise MemoryError
    return str(said.value)


def advised(text: str) -> list[dict[str, Any]]:
    """The sections that it says to write."""
    sections: list[dict[str, Any]] = []
    for section, key, _, value, most, resources, model, lora in ADVICE.findall(text):
        if resources or model:
            sections.append({"resources": yaml.safe_load(resources)} if resources else {model: {lora: {"rank": 4}}})
        else:
            sections.append({section: {key: int(most) - 1 if most else yaml.safe_load(value)}})
    return sections


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_advised_is_what_check_takes(kind: str) -> None:
    recipe = digits(**KINDS[kind])
    for doing in get_args(Doing):
        for sections in advised(told(doing, recipe)):
            plain = recipe.model_dump(mode="json")
            Recipe.model_validate(plain | {name: plain[name] | values for name, values in sections.items()})


@pytest.mark.parametrize(
    ("kind", "ways"),
    [
        ("two samples a piece", ["train.accumulate: 8", "parallel: fsdp"]),
        ("one sample a piece", ["train.checkpointing: true"]),
        ("alignment", ["rollout.activation_checkpointing: true", "train.checkpointing: true", "rollout.batch_size below 8"]),
        ("product", ["train.accumulate: 2", "product.samples below 16", "train.batch_size below 16"]),
        ("composed", ["train.precision: auto", "product.samples below 16", "train.batch_size below 16"]),
    ],
)
def test_a_step_is_made_smaller_by_what_its_kind_has(kind: str, ways: list[str]) -> None:
    text = told("a primal step", digits(**KINDS[kind]))
    assert all(way in text for way in ways), text


def test_adapters_are_for_models_that_are_loaded() -> None:
    assert "model.lora" in told("the model", digits(**KINDS["loaded"]))
    assert not any("model.lora" in told("the model", digits(**KINDS[kind])) for kind in ("data", "an adapter"))


def test_a_look_is_not_a_primal_step(tmp_path: Path, module: WriteModule) -> None:
    with pytest.raises(TrainingError, match=r"^a look at the training must fit .*; set evaluation.batch_size below 250, or "):
        run(module("roomy", MODULE) + ":samples", tmp_path, {"monitor": {"every": 5, "samples": 4}})


def test_samples_of_a_checkpoint_that_find_no_memory_are_told_in_words(tmp_path: Path, module: WriteModule) -> None:
    run(module("roomy", MODULE) + ":thirteen", tmp_path)
    place = find_checkpoint(str(tmp_path))
    with pytest.raises(TrainingError, match=r"^samples must fit into the memory of this machine, but got `.*; lower --count"):
        generate(place, 13, tmp_path / "out", sampler=None, steps=2, seed=0)
    assert len(generate(place, 2, tmp_path / "out", sampler=None, steps=2, seed=0)) == 2


def test_what_rewards_are_scaled_by_is_not_the_model(tmp_path: Path, module: WriteModule) -> None:
    recipe = digits(**{**ALIGNMENT, "models": {"pretrained": {"call": module("roomy", MODULE) + ":sampled"}}})
    with pytest.raises(
        TrainingError, match=r"^the preparation of the terms must fit .*; set evaluation.batch_size below 250, or "
    ):
        prepare(recipe, host_in(recipe, tmp_path))
