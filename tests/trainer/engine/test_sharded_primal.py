"""Weights in shards are trained as whole ones are: the same multipliers, checkpoints that any number of workers goes on from."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDPMPipeline

from dualsweep.trainer.checkpoint import read
from dualsweep.trainer.dual.state import DualState
from dualsweep.trainer.engine.dual_side import controller_of
from dualsweep.trainer.engine.worker import run_worker
from dualsweep.trainer.recipe.recipe import Recipe
from tests.trainer.engine.in_group import Together, host_of, in_group
from tests.trainer.engine.test_loop import run
from tests.trainer.recipe.test_formulations import ALIGNMENT, COMBINED
from tests.trainer.recipes import digits

#: Each trains on two processes of its own; one step's gradients of whole weights are compared in models/test_sharding.py.
pytestmark = pytest.mark.dear

Plain = dict[str, Any]
STEPS = 50
#: 17 samples and 33 draws of two workers in batches of 8: one of them would have a batch more than the other.
UNEVEN: Plain = {"samples": 17, "loss_draws": 33, "batch_size": 8, "metrics": []}
#: Small in every layer: what is compared is how it is shared out.
UNET: Plain = {"unet": {"channels": [8]}}
DIVIDED: Plain = {"workers": 2, "parallel": "fsdp"}
#: Few draws of a batch of 4 are of the reference model's samples: a worker often has none of them.
CASES: dict[str, Plain] = {
    "combined": {**COMBINED, "dual": {"every": 1}, "train": {"batch_size": 6, "floor": 1, "checkpointing": True}},
    "policy gradient": {**ALIGNMENT, "rollout": {**ALIGNMENT["rollout"], "gradient": "policy_gradient", "updates": 2}},
    "balance": {**ALIGNMENT, "rollout": {**ALIGNMENT["rollout"], "gradient": "dag", "flow": {"width": 8}}},
    "pieces": {"train": {"accumulate": 3, "clip": 0.05}},
    "bf16": {"train": {"precision": "bf16"}},
    "looks": {
        "data": {"holdout": 0.2}, "monitor": {"every": 2, "samples": 3, "bands": 2, "draws": 34}, "train": {"log_every": 2},
    },
}  # fmt: skip
#: What is within rounding of the weights may be on either side of a rounding to bf16, which is of 1 in 256.
ROUNDING = {"bf16": 2e-3}


def recipe_of(resources: Plain, **sections: Any) -> Recipe:
    train = {"steps": 2 * STEPS, "lr": 1e-3, **sections.pop("train", {})}
    plain = {
        "model": UNET,
        "dual": {"every": 1, "step_size": 0.1},
        "evaluation": UNEVEN,
        "checkpoint": {"every": STEPS, "keep": 3},
    }
    return digits(**{**plain, **sections, "train": train, "resources": resources})


def trained(recipe: Recipe, folder: Path) -> dict[int, list[float]]:
    """The multipliers after each dual step of one worker's training."""
    coordinator = Together(controller_of(recipe))
    run_worker(recipe, host_of(recipe, folder, coordinator), str(folder), str(folder / "judges"))
    return {version: state.multipliers.tolist() for version, state in coordinator.states.items()}


def both(folder: Path) -> dict[str, Any]:
    """A training of whole weights and one of shards, in one group: their multipliers."""
    return {kind: trained(recipe_of({**DIVIDED, "parallel": kind}), folder / kind) for kind in ("ddp", "fsdp")}


def all_cases(folder: Path) -> dict[str, Any]:
    """The same of every case, of a few steps."""
    multipliers: dict[str, Any] = {}
    for kind in ("ddp", "fsdp"):
        for name, sections in CASES.items():
            train = {**sections.get("train", {}), "steps": 6}
            recipe = recipe_of({**DIVIDED, "parallel": kind}, **{**sections, "train": train})
            multipliers[f"{name}, {kind}"] = trained(recipe, folder / f"{name}, {kind}")
    return multipliers


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sharded")


@pytest.fixture(scope="module")
def found(place: Path) -> dict[str, Any]:
    return of_group(place, both)


@pytest.fixture(scope="module")
def cases(place: Path) -> dict[str, Any]:
    return of_group(place, all_cases)


def of_group(place: Path, body: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    """What two workers have come to, each to the same."""
    first, second = in_group(2, place / body.__name__, body, place)
    assert first == second
    multipliers: dict[str, Any] = first
    return multipliers


def away(some: dict[int, Any], others: dict[int, Any]) -> float:
    """How far the multipliers of some dual steps are from those of others, at most."""
    return max(float(np.abs(np.array(some[version]) - np.array(others[version])).max()) for version in some)


def test_multipliers_are_those_of_whole_weights(found: dict[str, Any]) -> None:
    first = {version: each for version, each in found["fsdp"].items() if version <= STEPS}
    assert len(first) == STEPS and max(max(each) for each in first.values()) > 0.05, "they have moved"
    assert away(first, found["ddp"]) < 1e-5


@pytest.mark.parametrize("case", CASES)
def test_multipliers_are_those_of_whole_weights_of_every_kind_of_term(case: str, cases: dict[str, Any]) -> None:
    whole, divided = cases[f"{case}, ddp"], cases[f"{case}, fsdp"]
    assert whole.keys() == divided.keys() and max(max(each) for each in whole.values()) > 1e-3
    assert away(divided, whole) < ROUNDING.get(case, 1e-5)


def test_a_network_beside_the_model_learns_as_beside_whole_weights(place: Path, cases: dict[str, Any]) -> None:
    whole, divided = (
        read(str(place / f"balance, {kind}/checkpoints/step-00000006")).groups["companions"] for kind in ("ddp", "fsdp")
    )
    distance = sum(float((divided[name] - each).square().sum()) for name, each in whole.items()) ** 0.5
    assert distance < 1e-4 * sum(float(each.square().sum()) for each in whole.values()) ** 0.5


def halfway(place: Path, name: str) -> Path:
    """A folder with the checkpoint of halfway alone."""
    step = f"checkpoints/step-{STEPS:08d}"
    shutil.copytree(place / "fsdp" / step, place / name / step)
    return place / name


def tensors(place: Path, name: str) -> dict[str, torch.Tensor]:
    groups = read(str(place / name / f"checkpoints/step-{2 * STEPS:08d}")).groups
    return {f"{group}.{name}": each for group, tensors in groups.items() for name, each in tensors.items()}


def test_it_goes_on_to_the_bit_on_as_many_workers(place: Path, found: dict[str, Any]) -> None:
    later, _ = in_group(2, place / "again's", trained, recipe_of(DIVIDED), halfway(place, "again"))
    assert sorted(later) == list(range(STEPS + 1, 2 * STEPS + 1))
    assert all(each == found["fsdp"][version] for version, each in later.items())
    once, again = tensors(place, "fsdp"), tensors(place, "again")
    assert once.keys() == again.keys() and all(torch.equal(each, again[name]) for name, each in once.items())


def test_it_goes_on_with_one_worker(place: Path, found: dict[str, Any]) -> None:
    states: dict[int, DualState]
    _, _, states, _ = run(recipe_of({"workers": 1}), halfway(place, "one"))
    assert min(states) == STEPS + 1
    assert away({version: state.multipliers for version, state in states.items()}, found["fsdp"]) < 1e-5


def test_it_goes_on_with_three_workers(place: Path, found: dict[str, Any]) -> None:
    several = recipe_of({**DIVIDED, "workers": 3})
    later, *_ = in_group(3, place / "three's", trained, several, halfway(place, "three"))
    assert min(later) == STEPS + 1 and away(later, found["fsdp"]) < 1e-5


def test_a_checkpoint_is_whole(place: Path, found: dict[str, Any]) -> None:
    whole, divided = tensors(place, "ddp"), tensors(place, "fsdp")
    assert {name: each.shape for name, each in whole.items()} == {name: each.shape for name, each in divided.items()}
    folder = place / f"fsdp/checkpoints/step-{2 * STEPS:08d}"
    network = DDPMPipeline.from_pretrained(folder).unet
    averages = [divided[f"average.{number}"] for number, _ in enumerate(network.parameters())]
    assert all(torch.equal(each, average) for each, average in zip(network.parameters(), averages, strict=True))
