"""`train(recipe)` from Python asks what the commands ask, before anything starts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import ray
from PIL import Image

from dualsweep.trainer.checks.recipe import check_recipe
from dualsweep.trainer.config.diagnostics import InputError
from dualsweep.trainer.ray_shell.launch import train
from dualsweep.trainer.recipe.recipe import Recipe
from tests.trainer.recipes import digits


def test_training_from_python_tells_every_mistake_before_anything_starts(tmp_path: Path) -> None:
    wrong = digits(
        data={"source": "digits", "keep": {"11": 0.5}},
        constraints=[{"name": "four", "data": {"classes": ["fuor"]}, "at_most": 0.0}],
        evaluation={"samples": 0, "metrics": ["nowhere:metric"]},
    )
    with pytest.raises(InputError) as raised:
        train(wrong, str(tmp_path / "out"))
    keys = {diagnostic.key for diagnostic in raised.value.diagnostics}
    assert keys == {"constraints.0.at_most", "constraints.0.data.classes.0", "data.keep.11", "evaluation.metrics.0"}
    assert str(raised.value).splitlines()[0].startswith("constraints.0.at_most: must come with `feasibility.tolerance`")
    assert not ray.is_initialized() and not (tmp_path / "out").exists()


def test_what_only_loading_tells_is_told_too(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "images" / name).mkdir(parents=True)
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "images" / name / "0.png")
    (tmp_path / "images" / "b" / "0.png").write_bytes(b"\x89PNG no image")
    plain = {**digits(evaluation={"samples": 0}).model_dump(), "data": {"folder": str(tmp_path / "images")}, "constraints": []}
    recipe = Recipe.model_validate(plain)
    with pytest.raises(InputError, match="must hold readable images"):
        check_recipe(recipe)


def test_a_good_recipe_passes() -> None:
    check_recipe(Recipe.model_validate(digits(evaluation={"samples": 0}).model_dump()))


def test_a_recipe_that_pydantic_copied_unchecked_is_held_against_its_schema() -> None:
    with pytest.raises(InputError, match=r"seed: must be .*, but got -3"):
        check_recipe(digits(evaluation={"samples": 0}).model_copy(update={"seed": -3}))
