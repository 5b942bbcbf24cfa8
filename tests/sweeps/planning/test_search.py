"""Applying a trial's values to a recipe, and what of a search is tried in it before a sweep starts."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from dualsweep.sweeps.planning.kinds import Integers, tried
from dualsweep.sweeps.planning.load import load_plan
from dualsweep.sweeps.planning.search import apply
from dualsweep.trainer.config.diagnostics import InputError
from dualsweep.trainer.config.dotted_keys import NoSuchPlaceError, expand
from tests.sweeps.files import RECIPE, write


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


@pytest.mark.parametrize(("search", "train", "said"), [
    ("{train.steps: {int: [300, 1500]}}", "steps: 1500}\ndual: {every: 5}",
     "search.train.steps.int: `train.steps` must be a multiple of dual.every, but got 301 with every 5; "
     "write values that fit, e.g. `choice: [300, 555, 885, 1140, 1500]`"),
    ("{train.steps: {int: [301, 330]}}", "steps: 1500}\ndual: {every: 5}",
     "search.train.steps.int: `train.steps` must be a multiple of dual.every, but got 306 with every 5; "
     "write values that fit, e.g. `choice: [305, 310, 315, 320, 330]`"),
    ("{dual.every: {int: [1, 100]}}", "steps: 600}",
     "search.dual.every.int: must make a valid recipe, in which `train.steps` must be a multiple of dual.every, but got 600 with "
     "every 7 with 7; write values that fit, e.g. `choice: [1, 5, 15, 30, 100]`"),
    ("{dual.every: {int: [1, 600]}}", "steps: 600}",
     "but got 600 with every 19 with 19; write values that fit, e.g. `choice: [1, 2, 10, 24, 600]`"),
    ("{train.steps: {int: [300, 1500]}, dual.every: {choice: [1, 5]}}", "steps: 1500}",
     "search: must make a valid recipe in every corner, in which `train.steps` must be a multiple of dual.every, but got 301 "
     "with every 5 with train.steps = 301, dual.every = 5; write `choice` with "
     "values that fit for `train.steps`, or fix the others"),
])  # fmt: skip
def test_whole_numbers_that_are_no_recipe_between_ends_that_are_is_told_once(
    tmp_path: Path, search: str, train: str, said: str
) -> None:
    recipe = RECIPE.replace("steps: 1500, ", "").replace("lr: 2.0e-3}", f"lr: 2.0e-3, {train}\n")
    with pytest.raises(InputError) as caught:
        load_plan(write(tmp_path, f"name: s\nrecipe: recipe.yaml\nsearch: {search}\ntrials: 2\n", recipe))
    [only] = caught.value.diagnostics
    assert said in str(only)


def test_of_many_whole_numbers_those_beside_the_ends_and_some_between_are_tried() -> None:
    few, many = tried(Integers(3, 9)), tried(Integers(300, 2_000_000_000))
    assert few == tuple(range(3, 10))
    assert (many[:2], many[-2:]) == ((300, 301), (1_999_999_999, 2_000_000_000))
    assert list(many) == sorted(set(many)) and 64 <= len(many) <= 130
    assert max(after - before for before, after in itertools.pairwise(many)) < 2_000_000_000 / 100


def test_whole_numbers_beyond_a_bound_are_told_at_the_ends_alone(tmp_path: Path) -> None:
    sweep = "name: s\nrecipe: recipe.yaml\nsearch: {train.floor: {int: [-3, 90]}}\ntrials: 2\n"
    with pytest.raises(InputError) as caught:
        load_plan(write(tmp_path, sweep))
    assert [each.received for each in caught.value.diagnostics] == ["-3", "64 with 90"]
