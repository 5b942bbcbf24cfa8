"""The tolerance of each constraint: one rule, whatever the formulation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dualsweep.sweeps.checking import checked_plan
from dualsweep.sweeps.describing import describe
from dualsweep.sweeps.planning.load import load_plan
from dualsweep.trainer.config.diagnostics import InputError
from dualsweep.trainer.feasibility.defaults import tolerances, without_tolerance
from dualsweep.trainer.feasibility.tolerance import Tolerance
from dualsweep.trainer.recipe.load import load_recipe
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.result import Result
from tests.trainer.recipes import digits

DATA: dict[str, Any] = {"classes": [4]}
SWEEP = """
name: digits
recipe:
  name: digits
  formulation: constrained_training
  model: {unet: {channels: [8, 8], norm_groups: 4}}
  data: {source: digits}
  constraints:
    - {name: four, data: {classes: [4]}, at_most: 0.0}
    - {name: five, data: {classes: [5]}, at_most: 0.2}
  train: {steps: 10}
trials: 4
search:
  SEARCH
"""


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder without a store: that of a checkout may be another version's of MLflow."""
    monkeypatch.chdir(tmp_path)


def test_the_default_is_of_the_budget_of_the_objective_or_fixed_for_normalised_rewards() -> None:
    bounds: list[dict[str, Any]] = [
        {"at_most": -0.5}, {"at_least": 2.0}, {"equals": 0.3}, {"at_most": 0.0, "relative_to": "objective"}, {"at_most": 0.0},
    ]  # fmt: skip
    recipe = digits(constraints=[{"name": f"c{i}", "data": DATA, **each} for i, each in enumerate(bounds)])
    of_objective = Tolerance(0.01, of_objective=True)
    wanted = [Tolerance(0.01), Tolerance(0.04), Tolerance(0.006), of_objective, None]
    assert list(tolerances(recipe).values()) == wanted and without_tolerance(recipe) == ["c4"]
    assert of_objective.at(-3.0) == 0.03 and Tolerance(0.04).at(-3.0) == 0.04


def test_normalised_rewards_have_one_in_their_own_deviations() -> None:
    plain: dict[str, Any] = {
        "name": "r", "formulation": "alignment", "model": {"call": "tests.trainer.tiny:net", "shape": [2]}, "train": {"steps": 5},
        "constraints": [{"name": "a", "reward": {"call": "tests.trainer.tiny:reward"}, "at_least": 0.0}],
    }  # fmt: skip
    assert tolerances(Recipe.model_validate(plain)) == {"a": Tolerance(0.05)}
    assert tolerances(Recipe.model_validate({**plain, "rollout": {"normalize": False}})) == {"a": None}


def test_what_is_given_stands_and_only_constraints_have_any() -> None:
    named = digits(feasibility={"tolerance": {"four": 0.5}})
    assert tolerances(named)["four"] == Tolerance(0.5) and tolerances(digits(feasibility={"tolerance": 3}))["five"] == Tolerance(
        3
    )
    with pytest.raises(ValueError, match="must name constraints of the recipe, but got six"):
        digits(feasibility={"tolerance": {"six": 0.5}})
    with pytest.raises(ValueError, match=r"must be training where no data are held out.*data.holdout"):
        digits(feasibility={"on": "held_out"})


def sweep(tmp_path: Path, search: str) -> Any:
    file = tmp_path / "sweep.yaml"
    file.write_text(SWEEP.replace("SEARCH", search))
    return load_plan(file)


@pytest.mark.parametrize(
    "kind, four",
    [
        ("{uniform: [0.0, 0.5]}", Tolerance(0.01)), ("{choice: [0.1, 0.6]}", Tolerance(0.01)),
        ("{log_uniform: [0.1, 10.0]}", Tolerance(0.004)),
    ],
)  # fmt: skip
def test_a_sweep_tells_every_trial_that_of_the_searched_range(tmp_path: Path, kind: str, four: Tolerance) -> None:
    plan = sweep(tmp_path, f"constraints.four.at_most: {kind}")
    found = tolerances(plan.trial_recipe({"constraints.four.at_most": 0.2}))
    assert found == {"four": pytest.approx(four), "five": pytest.approx(Tolerance(0.004))}


def test_a_budget_of_0_asks_for_a_tolerance_unless_it_is_searched(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"constraints.0.at_most: must come with `feasibility.tolerance`"):
        sweep(tmp_path, "dual.step_size: {uniform: [0.1, 0.2]}")
    file = tmp_path / "recipe.yaml"
    file.write_text("\n".join(line[2:] for line in SWEEP.split("recipe:\n")[1].split("trials:")[0].splitlines()))
    with pytest.raises(InputError, match=r"tolerance: \{four: 0.001\}"):
        load_recipe(file)
    assert load_recipe(file, ["feasibility={tolerance: {four: 0.001}}"])[0].feasibility.tolerance == {"four": 0.001}


def test_results_of_before_are_judged_anew_with_the_default_tolerance() -> None:
    outcome = {"value": 0.501, "budget": 0.5, "slack": -0.001, "slack_error": 0.001, "multiplier": 0.1, "kind": "at_most"}
    plain = {
        "status": "converged", "reason": "", "objective": 1.0, "objective_error": 0.1, "constraints": {"a": outcome},
        "feasible": False, "steps": 1, "seconds": 1.0, "checkpoint": None, "metrics": {}, "stopped_by": None,
    }  # fmt: skip
    result = Result.from_json(plain)
    assert (result.feasible, result.constraints["a"].tolerance) == ("met", 0.01)
    assert Result.from_json(result.to_json()) == result or Result.from_json(result.to_json()).to_json() == result.to_json()
    assert Result.from_json({**plain, "status": "stopped"}).feasible == "undecided"


def test_check_prints_the_tolerance_beside_each_constraint(tmp_path: Path) -> None:
    plan = sweep(tmp_path, "constraints.four.at_most: {uniform: [0.0, 0.5]}")
    told = "\n".join(describe(checked_plan(plan, str(tmp_path / "output"), None, None)))
    assert "four: data at most 0 (tolerance 0.01)" in told and "five: data at most 0.2 (tolerance 0.004)" in told
    plan = sweep(tmp_path, "constraints.four.at_most: {log_uniform: [0.1, 0.5]}")
    told = "\n".join(describe(checked_plan(plan, str(tmp_path / "output"), None, None)))
    assert "(tolerance 2 % of the trial's budget)" in told and "five: data at most 0.2 (tolerance 0.004)" in told
