"""No value is taken for one of another type: YAML's `true` is no number, and 1 is not `true`."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from dualsweep.trainer.recipe.recipe import Recipe, flatten

WHOLE: dict[str, Any] = {
    "name": "strict", "formulation": "constrained_training", "model": {"unet": {}}, "schedule": {"timesteps": 50},
    "data": {"source": "digits"}, "start": {"from": "there"}, "objective": {"data": {"all": True}},
    "constraints": [{"name": "four", "data": {"classes": [4]}, "at_most": 0.3, "alpha": 1.0}],
    "train": {"steps": 20}, "feasibility": {"tolerance": 0.1},
}  # fmt: skip


def _places(value: Any, keys: tuple[Any, ...] = ()) -> list[tuple[tuple[Any, ...], Any]]:
    """Every plain value of nested data, with the keys that lead to it."""
    if isinstance(value, dict | list):
        below = value.items() if isinstance(value, dict) else enumerate(value)
        return [each for key, one in below for each in _places(one, (*keys, key))]
    return [(keys, value)]


def _with(plain: Any, keys: tuple[Any, ...], value: Any) -> Any:
    copy = dict(plain) if isinstance(plain, dict) else list(plain)
    copy[keys[0]] = value if len(keys) == 1 else _with(plain[keys[0]], keys[1:], value)
    return copy


def _alike(value: Any) -> list[Any]:
    """What Python takes for the same number and YAML writes otherwise."""
    if isinstance(value, bool):
        return [int(value), float(value)]
    if isinstance(value, int):
        return [bool(value), True]
    return [bool(value)] if isinstance(value, float) else []


@pytest.fixture(scope="module")
def plain() -> Any:
    return Recipe.model_validate(WHOLE).model_dump(mode="json", by_alias=True)


def test_every_number_and_every_truth_value_of_a_recipe_is_strict(plain: Any) -> None:
    """By brute force: each value in turn is replaced by one that equals it, or nearly, and is of another type."""
    Recipe.model_validate(plain)
    tried, taken = 0, []
    for keys, value in _places(plain):
        for other in _alike(value):
            tried += 1
            try:
                Recipe.model_validate(_with(plain, keys, other))
                taken.append((keys, other))
            except ValidationError:
                pass
    assert taken == [] and tried > 80


@pytest.mark.parametrize("value", [True, False, 1.0, 0.0, 2, "1"])
def test_staleness_is_a_whole_number(value: object) -> None:
    with pytest.raises(ValidationError):
        Recipe.model_validate({**WHOLE, "dual": {"staleness": value}})
    assert flatten(Recipe.model_validate({**WHOLE, "dual": {"staleness": 0}}))["dual.staleness"] == 0
