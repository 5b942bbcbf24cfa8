"""The number of workers, or the least and the most of an elastic training: what is taken, and what is told of the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from dualsweep.trainer.config.diagnostics import InputError
from dualsweep.trainer.ray_shell.job import fingerprint
from dualsweep.trainer.recipe.load import load_recipe
from tests.trainer.recipes import digits


def loaded(tmp_path: Path, workers: Any) -> Any:
    plain = digits().model_dump(mode="json", exclude_defaults=True) | {"resources": {"workers": workers}}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(plain))
    return load_recipe(tmp_path / "recipe.yaml", [])[0]


@pytest.mark.parametrize(("workers", "least", "most"), [(1, 1, 1), (3, 3, 3), ([1, 4], 1, 4), ([2, 2], 2, 2)])
def test_a_number_or_the_least_and_the_most(tmp_path: Path, workers: Any, least: int, most: int) -> None:
    recipe = loaded(tmp_path, workers)
    assert (recipe.resources.least, recipe.resources.most) == (least, most)
    assert fingerprint(recipe) == fingerprint(digits()), "it decides no number, so that a run goes on with any"


@pytest.mark.parametrize(
    "workers", [0, -1, 1.5, "two", True, [4, 1], [0, 2], [1], [1, 2, 3], [], [1, 2.5], [1, None], {"least": 1}]
)
def test_what_is_no_number_of_workers_is_told_in_one_message(tmp_path: Path, workers: Any) -> None:
    with pytest.raises(InputError) as caught:
        loaded(tmp_path, workers)
    (found,) = caught.value.diagnostics
    assert found.keys == ("resources", "workers") and found.rule == "must be a whole number from 1, or [LEAST, MOST] of such"
    assert found.received == repr(workers) and found.remedy == "write e.g. workers: 2, or workers: [1, 4]"
