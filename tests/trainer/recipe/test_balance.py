"""What `dag` and `dag_kl` refuse, and why."""

from typing import Any

import pytest
from pydantic import ValidationError

from dualsweep.trainer.recipe.recipe import Recipe

REWARD = {"name": "a", "reward": {"call": "my:reward"}, "at_least": 1.0}


def recipe(constraints=None, **sections):
    plain = {
        "name": "x", "formulation": "alignment", "model": {"call": "a:b", "shape": [2]}, "train": {"steps": 1},
        "constraints": [REWARD] if constraints is None else constraints, **sections,
    }  # fmt: skip
    return Recipe.model_validate(plain)


@pytest.mark.parametrize("gradient", ["dag", "dag_kl"])
def test_what_can_be_balanced(gradient):
    recipe(rollout={"gradient": gradient})
    recipe(rollout={"gradient": gradient, "reference": "noising"}, dual={"rule": "fixed", "start": 2.0})
    recipe(rollout={"gradient": gradient}, objective={"reward": {"call": "my:reward"}, "maximize": True}, constraints=[KL])


FIXED = {"rule": "fixed", "start": 1.0}
KL = {"name": "b", "path_kl": {}, "at_most": 1.0}
GREATEST = {"reward": {"call": "my:reward"}, "maximize": True}
WRONG: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "nothing to align to": ({"constraints": []}, {}, "must hold a reward"),
    "two references": ({"constraints": [REWARD, KL]}, {}, "must have one KL to a reference, .* got 2"),
    "no closeness to tilt": ({"objective": {"reward": {"call": "my:reward"}}}, {}, "must have one KL to a reference, .* got 0"),
    "as far away as possible": (
        {"objective": GREATEST, "constraints": [{"name": "b", "path_kl": {}, "at_least": 1.0}]}, {},
        "`constraints.0.path_kl` must be bounded by at_most",
    ),
    "prices without a closeness": ({"dual": {"rule": "ascent"}}, {"reference": "noising"}, "`dual.rule` must be fixed"),
    "no weight": ({"dual": {"rule": "fixed"}}, {"reference": "noising"}, "`dual.start` must give"),
    "no objective": (
        {"dual": FIXED, "constraints": [{"name": "a", "reward": {"call": "m:r"}, "at_most": 1.0, "relative_to": "objective"}]},
        {"reference": "noising"}, "`relative_to` must be left out",
    ),
    "no density": ({}, {"eta": 0.0}, "`eta` must be above 0"),
    "no flow": ({"dual": FIXED}, {"reference": "noising", "gradient": "policy_gradient"}, "`reference` must be pretrained"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_nonsense_is_refused(case):
    sections, rollout, words = WRONG[case]
    with pytest.raises(ValidationError, match=words):
        recipe(**sections, rollout={"gradient": "dag", **rollout})


@pytest.mark.parametrize(
    "sections, words",
    [
        ({"objective": {"path_kl": {}, "maximize": True}}, "`objective.maximize` must go with a reward, but got path_kl"),
        (
            {"objective": GREATEST, "constraints": [{**KL, "relative_to": "objective"}]},
            "`constraints.0.relative_to` must be left out",
        ),
        (
            {"objective": GREATEST, "constraints": [KL], "dual": {"rule": "newton"}},
            "`dual.rule` must have a KL along trajectories",
        ),
    ],
)
def test_what_is_maximised_is_a_reward_under_budgets_of_its_own(sections, words):
    with pytest.raises(ValidationError, match=words):
        recipe(**sections)
