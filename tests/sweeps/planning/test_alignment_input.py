"""Bad input of alignment and composition: told by line before training where it can be known, else at the run's start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

from dualsweep.sweeps.checking import checked_recipe
from dualsweep.trainer.checkpoint import CheckpointFolder
from dualsweep.trainer.config.diagnostics import InputError
from dualsweep.trainer.dual.coordinator import InProcess
from dualsweep.trainer.engine.dual_side import controller_of
from dualsweep.trainer.engine.host import LocalHost
from dualsweep.trainer.engine.worker import run_worker
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.recipe.recipe import Recipe

RECIPE = """\
name: aligned
formulation: alignment
model: {call: "tests.known.models:plane", shape: [2]}
schedule: {timesteps: 100}
constraints:
  - {name: far, reward: {call: "tests.known.models:first"}, at_least: 0.5}
train: {steps: 10}
rollout: {steps: 10, batch_size: 16}
evaluation: {samples: 0, loss_draws: 64}
"""
#: What is changed (old, new), and what the message must name: line, key and words.
CASES = {
    "a deterministic sampler": ("steps: 10, batch", "eta: 0, steps: 10, batch", 8, "rollout.eta", "infinite for a deterministic"),
    "an unknown reward": (
        '{call: "tests.known.models:first"}', "brightnes", 6, "constraints.0.reward", "did you mean `brightness`",
    ),
    "a reward that is nowhere": ("models:first", "models:furst", 6, "constraints.0.reward.call.path", "did you mean `first`"),
    "a reward of images": ('{call: "tests.known.models:first"}', "brightness", 6, "constraints.0.reward.brightness", "channels"),
    "a reward without gradient": (
        '{call: "tests.known.models:first"}', "jpeg_size", 6, "constraints.0.reward.jpeg_size", "policy_gradient",
    ),
    "a term of another formulation": ("alignment", "constrained_training", 6, "constraints.0.reward", "formulation: combined"),
    "a model that is not named": (
        "at_least: 0.5}", "at_least: 0.5}\nobjective: {path_kl: {to: other}}", 7, "objective.path_kl", "'other'",
    ),
    "an untrained model": (
        '{call: "tests.known.models:plane", shape: [2]}', "{unet: {channels: [8]}, shape: [1, 8, 8]}", 3, "model", "trained",
    ),
    "no shape": (", shape: [2]", "", 3, "model", "model.shape"),
    "a rule on the simplex": ("train:", "dual: {rule: mirror}\ntrain:", 7, "dual.rule", "mirror"),
    "two bounds": ("at_least: 0.5", "at_least: 0.5, at_most: 1.0", 6, "constraints.0", "beside"),
    "truncation without steps": (
        "batch_size: 16", "batch_size: 16, truncation: {kind: fixed}", 8, "rollout.truncation", "steps: 5",
    ),
    "newton where the start is kept": (
        "steps: 10, batch_size: 16}", "steps: 10, batch_size: 16, eta: 0.5}\ndual: {rule: newton}", 8, "rollout.eta", "secant",
    ),
    "newton on a schedule that ends short of noise": (
        "{timesteps: 100}", "{timesteps: 100, name: linear}\ndual: {rule: newton}", 4, "schedule.timesteps", "at least 400",
    ),
    "a black box without a step that has noise": (
        "steps: 10, batch", "gradient: policy_gradient, steps: 1, batch", 8, "rollout.steps", "at least 2",
    ),
    "more steps than the schedule": ("steps: 10, batch", "steps: 500, batch", 8, "rollout.steps", "at most"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_it_is_told_by_line_and_key(case: str, tmp_path: Path) -> None:
    old, new, line, key, says = CASES[case]
    assert old in RECIPE
    file = tmp_path / "recipe.yaml"
    file.write_text(RECIPE.replace(old, new, 1))
    with pytest.raises(InputError) as found:
        checked_recipe(file, [], str(tmp_path / "out"), None, None)
    told = [str(problem) for problem in found.value.diagnostics]
    assert any(f"recipe.yaml:{line}: {key}" in each and says in each for each in told), told
    assert not (tmp_path / "out").exists()


def test_the_recipe_itself_is_good(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(RECIPE)
    assert checked_recipe(file, [], str(tmp_path / "out"), None, None).recipe.formulation == "alignment"


def run(tmp_path: Path, **changes: Any) -> None:
    recipe = Recipe.model_validate({**yaml.safe_load(RECIPE), **changes})
    run_worker(recipe, LocalHost(InProcess(controller_of(recipe)), CheckpointFolder(str(tmp_path / "c"))), str(tmp_path))


def wrong_shape(x: torch.Tensor) -> torch.Tensor:
    return x


def not_a_number(x: torch.Tensor) -> torch.Tensor:
    return x[:, 0] * float("nan")


def without_gradient(x: torch.Tensor) -> torch.Tensor:
    return x.detach()[:, 0]


def constant(x: torch.Tensor) -> torch.Tensor:
    return 0 * x[:, 0] + 3


@pytest.mark.parametrize(
    "name, says",
    [
        ("wrong_shape", r"one value for each sample.*\[.*2\]"),
        ("not_a_number", "NaN or infinity for"),
        ("without_gradient", "use `gradient: policy_gradient`"),
        ("constant", "must vary over"),
    ],
)
def test_a_bad_reward_is_refused_when_it_is_first_asked(name: str, says: str, tmp_path: Path) -> None:
    constraint = {"name": "far", "reward": {"call": f"tests.sweeps.planning.test_alignment_input:{name}"}, "at_least": 0.5}
    with pytest.raises(TrainingError, match=says):
        run(tmp_path, constraints=[constraint])


def saved_unet(folder: Path, channels: int, timesteps: int) -> str:
    unet = UNet2DModel(
        sample_size=8, in_channels=channels, out_channels=channels, block_out_channels=(8,), layers_per_block=1,
        down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",), norm_num_groups=8,
    )  # fmt: skip
    DDPMPipeline(unet, DDPMScheduler(timesteps)).save_pretrained(folder)
    return str(folder)


def test_frozen_models_of_another_shape_or_schedule_are_refused(tmp_path: Path) -> None:
    own = saved_unet(tmp_path / "own", 1, 50)
    constraints = [{"name": "close", "path_kl": {"to": "other"}, "at_most": 1.0}]
    for other, says in (
        (saved_unet(tmp_path / "rgb", 3, 50), "must accept samples of shape"),
        (saved_unet(tmp_path / "longer", 1, 100), "must have one noise schedule.*100 timesteps"),
    ):
        with pytest.raises(TrainingError, match=says):
            run(tmp_path, model={"load": own}, models={"other": {"load": other}}, constraints=constraints)
