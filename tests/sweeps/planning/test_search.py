"""Applying a trial's values to a recipe."""

from __future__ import annotations

from typing import Any

import pytest

from dualsweep.sweeps.planning.search import apply
from dualsweep.trainer.config.dotted_keys import NoSuchPlaceError, expand


def recipe() -> dict[str, Any]:
    return {"constraints": [{"name": "a", "at_most": 1}, {"name": "b", "at_most": 2}], "data": {"keep": {4: 0.1}}, "model": None}


def test_values_go_to_constraints_by_name_and_the_recipe_stays() -> None:
    before = recipe()
    after = apply(
        before, {"constraints.b.at_most": 5, "dual.step_size": 0.1, "data.keep.4": 0.3, "data.keep.7": 0.2, "model.load": "m"}
    )
    assert after["constraints"] == [{"name": "a", "at_most": 1}, {"name": "b", "at_most": 5}]
    assert (after["dual"], after["data"], after["model"]) == ({"step_size": 0.1}, {"keep": {4: 0.3, 7: 0.2}}, {"load": "m"})
    assert before == recipe()


def test_a_wild_card_sets_every_constraint_alike() -> None:
    assert [each["at_most"] for each in apply(recipe(), {"constraints.*.at_most": 7})["constraints"]] == [7, 7]


def test_a_wild_card_in_brackets_is_one_key_for_each() -> None:
    assert expand("constraints.[*].at_most", recipe()) == [
        ("constraints.a.at_most", [("constraints", 0, "at_most")]),
        ("constraints.b.at_most", [("constraints", 1, "at_most")]),
    ]
    assert expand("data.keep.*", recipe()) == [("data.keep.*", [("data", "keep", 4)])]


@pytest.mark.parametrize("key", ["constraints.c.at_most", "constraints.5.at_most", "data.keep.4.x", "nothing.*", "", "a..b"])
def test_a_key_that_leads_nowhere_is_refused(key: str) -> None:
    with pytest.raises(NoSuchPlaceError, match=r"must .*, but got .*; "):
        apply(recipe(), {key: 1})


def test_values_are_copied() -> None:
    value = {"channels": [1]}
    after = apply(recipe(), {"model.unet": value})
    value["channels"].append(2)
    assert after["model"] == {"unet": {"channels": [1]}}
