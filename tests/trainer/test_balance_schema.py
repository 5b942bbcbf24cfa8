"""What `dag` and `dag_kl` refuse, and why."""

from typing import Any

import pytest
from pydantic import ValidationError

from trainer.recipe import Recipe

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


FIXED = {"rule": "fixed", "start": 1.0}
KL = {"name": "b", "path_kl": {}, "at_most": 1.0}
WRONG: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "nothing to align to": ({"constraints": []}, {}, "must hold a reward"),
    "another sum over steps": ({"constraints": [REWARD, KL]}, {}, "`constraints.1` must be a reward"),
    "no closeness to tilt": ({"objective": {"reward": {"call": "my:reward"}}}, {}, "`objective` must be a KL to a reference"),
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
