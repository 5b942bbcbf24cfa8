"""Rollouts and products through the loop: resumed equals uninterrupted bit for bit; weights that stay on the simplex."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.recipe.recipe import Recipe
from tests.trainer.engine.test_loop import Interrupted, run, without_time
from tests.trainer.recipes import digits

UNET = {"unet": {"channels": [8]}}
ALIGNMENT: dict[str, Any] = {
    "formulation": "alignment", "model": UNET, "models": {"pretrained": UNET},
    "rollout": {"steps": 3, "batch_size": 8, "normalization_samples": 16},
    "constraints": [
        {"name": "bright", "reward": "brightness", "at_least": 0.2}, {"name": "flat", "reward": "contrast", "at_most": 0.1},
    ],
}  # fmt: skip
AND: dict[str, Any] = {
    "formulation": "composition_and", "model": UNET, "models": {"a": UNET, "b": {"unet": {"channels": [16]}}},
    "constraints": [{"name": name, "kl": {"to": name}} for name in ("a", "b")],
    "dual": {"rule": "simplex", "every": 2}, "product": {"samples": 16, "levels": 3, "steps": 2},
}  # fmt: skip
OR: dict[str, Any] = {
    **AND, "formulation": "composition_or", "dual": {"rule": "mirror", "step_size": 0.5},
    "constraints": [{"name": name, "samples": {"of": name, "count": 16}} for name in ("a", "b")],
}  # fmt: skip
COMBINED: dict[str, Any] = {
    **ALIGNMENT, "formulation": "combined", "dual": {"rule": "newton", "every": 2, "staleness": 0},
    "constraints": [
        ALIGNMENT["constraints"][0], {"name": "four", "data": {"classes": [4]}, "at_most": 0.4},
        {"name": "memory", "closeness": {"samples": 16}, "at_most": 0.1},
    ],
}  # fmt: skip
CASES: dict[str, dict[str, Any]] = {
    "backpropagation": {**ALIGNMENT, "rollout": {**ALIGNMENT["rollout"], "truncation": {"kind": "uniform"}}},
    "policy gradient": {**ALIGNMENT, "rollout": {**ALIGNMENT["rollout"], "gradient": "policy_gradient", "updates": 2}},
    "product": AND,
    "mixture": OR,
    "combined": COMBINED,
    "balanced": {"data": {"balance": True}},
    "unconstrained": {"constraints": []},
    "one constraint": {"constraints": [{"name": "four", "data": {"classes": [4]}, "at_most": 0.4}]},
    "labels": {
        "model": {**UNET, "condition": "labels", "guidance": 2.0},
        "train": {"condition_dropout": 0.3},
        "data": {"random_flip": True},
    },
}


def test_a_kl_of_nothing_but_noise_is_refused(tmp_path: Path) -> None:
    noisiest = [{"name": name, "kl": {"to": name, "timestep": 49}} for name in ("a", "b")]
    with pytest.raises(TrainingError, match=r"`kl.timestep` must be below 49, .* but got 49; lower it"):
        run(digits(**{**AND, "constraints": noisiest}), tmp_path)


@pytest.mark.parametrize("case", CASES)
def test_interrupted_and_continued_is_bit_for_bit_the_uninterrupted_run(case: str, tmp_path: Path) -> None:
    recipe = digits(
        **{**CASES[case], "train": {**CASES[case].get("train", {}), "steps": 10, "log_every": 2}, "checkpoint": {"every": 4}}
    )
    whole, whole_points, whole_states, whole_end = run(recipe, tmp_path / "whole")
    with pytest.raises(Interrupted):
        run(recipe, tmp_path / "parts", 3 if recipe.dual.every == 2 else 6)
    resumed, points, states, end = run(recipe, tmp_path / "parts")
    assert min(states) > 1, "it continued from a checkpoint"
    for version, state in states.items():
        assert state.multipliers.tobytes() == whole_states[version].multipliers.tobytes()
    for step, metrics in points.items():
        assert without_time(metrics) == pytest.approx(without_time(whole_points[step]), rel=0, abs=0, nan_ok=True)
    for group, tensors in whole_end.groups.items():
        assert all(torch.equal(tensors[name], end.groups[group][name]) for name in tensors), group
    assert without_time(resumed.metrics) == pytest.approx(without_time(whole.metrics), rel=0, abs=0, nan_ok=True)


@pytest.mark.parametrize("formulation", [AND, OR])
def test_fixed_weights_on_the_simplex_stay_equal(formulation: dict[str, Any], tmp_path: Path) -> None:
    result, _, states, _ = run(digits(**{**formulation, "dual": {"rule": "fixed", "every": 2}}), tmp_path)
    assert all((state.multipliers == 0.5).all() for state in states.values())
    values = [each.value for each in result.constraints.values()]
    assert all(each.kind == "minimax" and each.budget == max(values) for each in result.constraints.values())
    assert result.objective == max(values) and result.status == "out_of_steps"


def test_fixed_weights_on_the_simplex_may_be_given(tmp_path: Path) -> None:
    _, _, states, _ = run(digits(**{**AND, "dual": {"rule": "fixed", "every": 2, "start": {"a": 0.9, "b": 0.1}}}), tmp_path)
    assert all(np.allclose(state.multipliers, [0.9, 0.1], rtol=0, atol=1e-15) for state in states.values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({**AND, "dual": {"rule": "ascent"}}, "must be simplex or mirror or fixed with the formulation composition_and"),
        ({**AND, "dual": {"rule": "fixed", "start": 0.5}}, "must be a weight for each constraint"),
        ({**ALIGNMENT, "dual": {"rule": "mirror"}}, "must be one that is not on the simplex"),
        ({**ALIGNMENT, "data": {"balance": True}}, "`data.balance` must go with an objective on data"),
    ],
)
def test_rules_and_data_that_do_not_fit_the_formulation_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        digits(**change)


def test_weights_that_stay_need_no_budget_only_on_the_simplex() -> None:
    plain = digits(dual={"rule": "fixed"}).model_dump(mode="json")
    plain["constraints"][0].pop("at_most")
    with pytest.raises(ValidationError, match="must hold one of at_most, at_least and equals"):
        Recipe.model_validate(plain)


def test_updates_that_backpropagation_would_not_take_are_refused() -> None:
    with pytest.raises(ValueError, match=r"`rollout\.updates` must be 1 with gradient backpropagation, .* but got 2"):
        digits(**{**ALIGNMENT, "rollout": {**ALIGNMENT["rollout"], "updates": 2}})
