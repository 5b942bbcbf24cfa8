"""A recipe with overrides laid over it: values reach their places, mistakes are told where they were written."""

from __future__ import annotations

from pathlib import Path

import pytest

from dualsweep.trainer.config.diagnostics import InputError
from dualsweep.trainer.recipe.load import load_recipe

RECIPE = """\
name: r
formulation: constrained_training
model: {unet: {channels: [16, 32]}}
data: {source: digits}
constraints:
  - {name: four, data: {classes: [4]}, at_most: 0.12}
  - {name: five, data: {classes: [5]}, at_most: 0.12}
train: {steps: 1500}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE)
    return path


def told(path: Path, *overrides: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        load_recipe(path, overrides)
    return [str(problem).replace(f"{path.parent}/", "") for problem in caught.value.diagnostics]


def test_overrides_reach_their_places(recipe: Path) -> None:
    read, document = load_recipe(
        recipe,
        ["train.steps=10", "dual.step_size=1e-3", "constraints.*.at_most=0.2", "constraints.five.at_most=0.3",
         "model.unet.channels.0=8", "data.keep={4: 0.5}", "evaluation.judge.epochs=2", "schedule={timesteps: 50}"],
    )  # fmt: skip
    assert (read.train.steps, read.dual.step_size, read.evaluation.judge.epochs) == (10, 0.001, 2)
    assert [each.at_most for each in read.constraints] == [0.2, 0.3]
    assert read.model.unet is not None and read.model.unet.channels == [8, 32]
    assert read.schedule is not None and read.schedule.timesteps == 50
    assert document.data["train"] == {"steps": 10}


def test_without_overrides_it_is_the_file(recipe: Path) -> None:
    assert load_recipe(recipe)[0].train.steps == 1500


def test_mistakes_in_overrides_name_the_command_line(recipe: Path) -> None:
    found = told(
        recipe,
        "train.steps=0",
        "train.stepz=1",
        "constraints.six.at_most=1",
        "constraints.five.at_most=a",
        "x",
        "train.steps.y=1",
    )
    assert [line.split("; ")[0] for line in found] == [
        "--set:5: x: must be `key=value`, but got 'x'",
        "--set:3: constraints.six.at_most: must name an entry of `constraints`, but got `six`",
        "--set:6: train.steps.y: must lead through sections, and `train.steps` is none, but got `y` below 0",
        "--set:1: train.steps: must be greater than or equal to 1, but got 0",
        "--set:2: train.stepz: must be a known key, but got `stepz`",
        "--set:4: constraints.five.at_most: must be a valid number (without quotes), but got 'a'",
    ]


def test_mistakes_within_a_section_that_was_laid_over_name_the_key_in_it(recipe: Path) -> None:
    unknown, lower = told(recipe, "trian.steps=1")[0], told(recipe, "schedule={name: edm, sigma_min: 90}")[0]
    assert unknown.startswith("--set:1: trian.steps: must be a known key, but got `trian`; did you mean `train`?")
    assert lower.startswith("--set:1: schedule: `sigma_max` must be above sigma_min, but got 80 with 90")  # which nobody wrote
    [shift] = told(recipe, "schedule={prediction: v_prediction, shift: 2.0}")
    assert shift.startswith("--set:1: schedule.shift: `shift` must go with prediction flow")


def test_overrides_may_be_a_dict(recipe: Path) -> None:
    assert load_recipe(recipe, {"train.steps": 10, "dual": {"step_size": 0.5}})[0].dual.step_size == 0.5
    with pytest.raises(InputError, match=r"overrides:1: train.steps: must be a valid integer"):
        load_recipe(recipe, {"train.steps": "x"})


def test_mistakes_of_the_file_keep_their_lines(recipe: Path) -> None:
    recipe.write_text(RECIPE.replace("channels: [16, 32]", "channels: [16, 33]"))
    assert told(recipe, "train.steps=20")[0].startswith("recipe.yaml:3: model.unet")


def test_rules_over_several_sections_are_told_at_once(recipe: Path) -> None:
    recipe.write_text(
        RECIPE.replace("train: {steps: 1500}", "dual: {rule: newton, every: 7}\ntrain: {steps: 1500, batch_size: 2}")
    )
    found = told(recipe)
    assert [line.split(" ")[0] for line in found] == ["recipe.yaml:8:", "recipe.yaml:9:", "recipe.yaml:9:"]
    assert [line.split(" ")[1] for line in found] == ["dual.rule:", "train.batch_size:", "train.steps:"]


def test_a_missing_file_is_told_with_the_overrides_problems(tmp_path: Path) -> None:
    assert [line.split(": ")[0] for line in told(tmp_path / "no.yaml", "x")] == ["no.yaml:1", "--set:1"]


def test_null_survives_the_way_to_the_workers() -> None:
    """`clip: null` switches clipping off; it must not come back as the default on the way."""
    from dualsweep.trainer.ray_shell.job import job_for
    from dualsweep.trainer.recipe.recipe import Recipe
    from tests.trainer.recipes import digits

    recipe = digits(train={"clip": None})
    assert Recipe.model_validate(job_for(recipe, "out").recipe) == recipe


def test_a_shared_place_for_checkpoints_keeps_recipes_apart() -> None:
    from dualsweep.trainer.ray_shell.job import job_for
    from tests.trainer.recipes import digits

    one, other = (job_for(digits(seed=seed, checkpoint={"to": "s3://bucket/all"}), "runs/x/") for seed in (0, 1))
    assert one.checkpoints != other.checkpoints and one.checkpoints.startswith("s3://bucket/all/x-")
