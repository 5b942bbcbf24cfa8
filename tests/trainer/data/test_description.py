"""`data.json`: what a training was trained on, and that its digest is of the content."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dualsweep.trainer.data.description import description
from dualsweep.trainer.data.splits import assemble
from dualsweep.trainer.recipe.recipe import Recipe
from tests.sweeps.in_process import RECIPE


def described(data: dict[str, Any], **keys: Any) -> dict[str, Any]:
    recipe = Recipe.model_validate({**RECIPE, "data": data, **keys})
    assert recipe.data is not None
    told: dict[str, Any] = json.loads(description(assemble(recipe), recipe.data))
    return told


def test_the_digits_with_a_thinned_class() -> None:
    whole, thinned = described({"source": "digits"}), described({"source": "digits", "keep": {4: 0.1}})
    assert (whole["source"], whole["name"], whole["examples"], whole["shape"]) == ("source", "digits", 1797, [1, 8, 8])
    assert whole["classes"]["4"] == {"examples": 181, "trained_on": 181} and whole["trained_on"] == 1797
    assert thinned["classes"]["4"] == {"examples": 181, "trained_on": 18} and thinned["trained_on"] == 1797 - 163
    assert thinned["digest"] == whole["digest"] and thinned["recipe"] == {"source": "digits", "keep": {"4": 0.1}}


def test_one_pixel_makes_another_digest(tmp_path: Path) -> None:
    for number in range(3):
        Image.fromarray(np.full((8, 8), 9 * number, np.uint8)).save(tmp_path / f"{number}.png")
    data = {"folder": str(tmp_path)}
    before = described(data, constraints=[])
    assert "classes" not in before and described(data, constraints=[])["digest"] == before["digest"]
    image = np.full((8, 8), 9, np.uint8)
    image[3, 5] = 200
    Image.fromarray(image).save(tmp_path / "1.png")
    assert described(data, constraints=[])["digest"] != before["digest"]
