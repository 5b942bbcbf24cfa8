"""A sweep with the sampler `dual_informed`: what is refused, what a trial tells, where it ends, and that it comes back."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest

from dualsweep.sweeps.dual_informed.of_plan import outcome_of
from dualsweep.sweeps.dual_informed.sampler import DualInformedSampler
from dualsweep.sweeps.planning.load import load_plan
from dualsweep.sweeps.planning.plan import Plan
from dualsweep.sweeps.studies.samplers import sampler_for
from dualsweep.sweeps.studies.study import Study
from dualsweep.trainer.config.diagnostics import InputError
from dualsweep.trainer.result import ConstraintOutcome, Result
from tests.sweeps.files import RECIPE, plan, write

SWEEP = """\
name: s
recipe: recipe.yaml
search:
  dual.step_size: {log_uniform: [0.003, 0.3]}
  constraints.[*].at_most: {uniform: [0.08, 0.25]}
sampler: {name: dual_informed, tolerance: 0.2}
trials: 40
"""
ONE = SWEEP.replace("constraints.[*].at_most", "constraints.four.at_most")
TIED = SWEEP.replace("constraints.[*].at_most", "constraints.*.at_most")


def result(params: dict[str, Any], status: Any = "converged", error: float = 0.0) -> Result:
    """A training that ends on the front f = 0.01 (1 / b_four + 1 / b_five), whose prices are 0.01 / b^2."""
    tied = params.get("constraints.*.at_most")
    budgets = {name: params.get(f"constraints.{name}.at_most", tied or 0.12) for name in ("four", "five")}
    bounds = {name: ConstraintOutcome(b, b, 0.0, error, 0.01 / b**2) for name, b in budgets.items()}
    objective = sum(0.01 / b for b in budgets.values())
    metrics = {"objective": objective, "value/max": max(budgets.values())}
    return Result(status, "", objective, error, bounds, "met", 1, 1.0, None, metrics)


def go(study: Study, count: int) -> list[dict[str, Any]]:
    proposals: list[dict[str, Any]] = []
    while len(proposals) < count and study.remaining:
        asked = study.ask()
        done = result(asked.params)
        values = [done.metrics[name] for name in study.plan.objectives]
        study.tell(asked.number, values, dict.fromkeys(done.constraints, 0.0), outcome=outcome_of(study.plan, done))
        proposals.append(asked.params)
    return proposals


def test_it_starts_at_the_tightest_budgets_and_ends_by_itself(tmp_path: Path) -> None:
    with Study(plan(tmp_path, sweep=SWEEP), tmp_path / "out") as study:
        proposals = go(study, 40)
        assert 3 < len(proposals) < 40
        assert study.remaining == 0 and "narrower than the tolerance" in (study.stopped or "")
        with pytest.raises(RuntimeError, match="lower the sampler's `tolerance`"):
            study.ask()
    assert [proposals[0][f"constraints.{name}.at_most"] for name in ("four", "five")] == [0.08, 0.08]
    assert len({params["dual.step_size"] for params in proposals}) == len(proposals)
    with Study(plan(tmp_path, "sampler.tolerance=0.1", sweep=SWEEP), tmp_path / "out") as study:
        assert study.stopped is None and len(go(study, 1)) == 1  # the same sweep, made finer


def test_an_interrupted_sweep_is_the_uninterrupted_one(tmp_path: Path) -> None:
    search = plan(tmp_path, sweep=TIED)
    with Study(search, tmp_path / "straight") as study:
        straight = go(study, 4)
    parts: list[dict[str, Any]] = []
    for size in (1, 2, 1):
        with Study(search, tmp_path / "parts") as study:
            parts += go(study, size)
    assert parts == straight and straight[0]["constraints.*.at_most"] == 0.08


DONE = result({"constraints.four.at_most": 0.1}, error=0.002)
OFF = ConstraintOutcome(0.13, 0.12, -0.01, 0.002, 0.7)


def with_constraints(done: Result, **constraints: ConstraintOutcome) -> Result:
    return Result(**{**vars(done), "constraints": {**done.constraints, **constraints}})


def test_what_a_trial_tells(tmp_path: Path) -> None:
    """A constraint with a fixed budget moves the objective along the trial's plane to where it is met exactly."""
    search, done = plan(tmp_path, sweep=ONE), DONE
    told = outcome_of(search, with_constraints(done, five=OFF))
    assert told is not None
    assert told.objective == pytest.approx(done.objective + 0.7 * 0.01)
    assert told.objective_error == pytest.approx(math.hypot(0.002, 0.7 * 0.002))
    assert told.values == {"four": 0.1} and told.multipliers == {"four": pytest.approx(1.0)}
    assert told.value_errors == {"four": 0.002}
    assert told.multiplier_errors == {"four": pytest.approx(0.05)}  # as sure as settled runs are


def test_a_fixed_budget_that_gave_way_is_met_where_it_stands_now(tmp_path: Path) -> None:
    """alpha = 14 at the multiplier 0.7 relaxes it by 0.05, at the cost 14 * 0.05² / 2 = 0.7 * 0.05 / 2."""
    search, cost = plan(tmp_path, sweep=ONE), 0.7 * 0.05 / 2
    relaxed = ConstraintOutcome(0.17, 0.12, -0.05, 0.001, 0.7, relaxation=0.05, tolerance=0.01)
    told = outcome_of(search, with_constraints(DONE, five=relaxed))
    assert relaxed.standing == "met" and told is not None and told.attains
    assert told.objective == told.attained == pytest.approx(DONE.objective + cost)
    off = outcome_of(search, with_constraints(DONE, five=replace(relaxed, slack=-0.06)))
    assert off is not None and not off.attains and off.objective == pytest.approx(DONE.objective + cost + 0.7 * 0.01)


def test_how_sure_its_multipliers_are(tmp_path: Path) -> None:
    search, done = plan(tmp_path, sweep=ONE), DONE
    for error, told_error in ((0.2, 0.2), (0.0, pytest.approx(0.01))):  # at most 1 of 100 of the largest is believed
        measured = replace(done.constraints["four"], multiplier_error=error)
        sure = outcome_of(search, with_constraints(done, four=measured))
        assert sure is not None and sure.multiplier_errors == {"four": told_error}
    slack = outcome_of(search, with_constraints(done, four=replace(OFF, multiplier=0.0)))
    assert slack is not None and slack.multiplier_errors == {"four": 0.0}


def test_trials_without_numbers_tell_nothing(tmp_path: Path) -> None:
    search = plan(tmp_path, sweep=SWEEP)
    done = result({})
    assert outcome_of(search, result({}, status="diverged")) is None
    nameless = {**done.constraints, "four": ConstraintOutcome(0.1, 0.1, 0.0, 0.0, math.nan)}
    assert outcome_of(search, Result(**{**vars(done), "constraints": nameless})) is None
    unsure = outcome_of(search, Result(**{**vars(done), "objective_error": math.nan}))
    assert unsure is not None and unsure.objective_error == 0
    unbounded = SWEEP.replace("  constraints.[*].at_most: {uniform: [0.08, 0.25]}\n", "").replace(
        "dual_informed, tolerance: 0.2", "tpe"
    )
    assert outcome_of(plan(tmp_path, sweep=unbounded), done) is None  # no budget is searched


ALIGNED = """\
name: aligned
formulation: alignment
model: {call: "tests.known.models:plane", shape: [2]}
constraints:
  - {name: far, reward: {call: "tests.known.models:first"}, at_least: 0.5}
  - {name: high, reward: {call: "tests.known.models:first"}, at_most: 0.5}
rollout: {normalization_samples: 400}
train: {steps: 10}
"""
FAR = """\
name: s
recipe: recipe.yaml
search:
  constraints.far.at_least: {uniform: [0.2, 0.9]}
  constraints.high.at_most: {uniform: [-0.5, 0.5]}
sampler: dual_informed
trials: 4
"""


def test_the_pretrained_model_is_a_trial_for_free(tmp_path: Path) -> None:
    """It is known from the start at its normalised rewards, 0; with a bias of its own or a fixed budget beside it, it is not."""
    write(tmp_path, FAR, ALIGNED)
    at = [{"constraints.far.at_least": 0.0, "constraints.high.at_most": 0.0}]
    for overrides, known in (
        ((), True),
        (("rollout.normalize=false",), False),
        (("search.constraints.high.at_most=null",), False),
    ):
        search = load_plan(tmp_path / "sweep.yaml", overrides)
        sampler = sampler_for(search, 0)
        assert isinstance(sampler, DualInformedSampler)
        study = optuna.create_study()
        if not known:
            with pytest.raises(ValueError, match="must rest on a trial"):
                sampler.front(study, at)
            continue
        front = sampler.front(study, at)
        assert front.lower == [0.0] and front.upper == [0.0]
        with Study(search, tmp_path / "out") as asked:
            assert asked.ask().params == {"constraints.far.at_least": 0.9, "constraints.high.at_most": -0.5}


def refused(folder: Path, sweep: str, recipe: str = RECIPE) -> str:
    write(folder, sweep, recipe)
    with pytest.raises(InputError) as caught:
        load_plan(folder / "sweep.yaml")
    return str(caught.value)


@pytest.mark.parametrize(("sweep", "recipe", "said"), [
    (SWEEP.replace("  constraints.[*].at_most: {uniform: [0.08, 0.25]}\n", ""), RECIPE,
     ("must vary a constraint's budget with the sampler `dual_informed`", "only `dual.step_size`", "or take another sampler")),
    (SWEEP.replace("{uniform: [0.08, 0.25]}", "{choice: [0.08, 0.25]}"), RECIPE,
     ("sweep.yaml:5", "must be a range with the sampler `dual_informed`", "[0.08, 0.25]", "write `uniform: [low, high]`")),
    (TIED.replace("at_most", "equals"), RECIPE.replace("at_most", "equals"),
     ("must set one constraint with the sampler `dual_informed`", "2 equalities", "constraints.[*].equals")),
    (SWEEP.replace("dual_informed", "tpe"), RECIPE,
     ("`tolerance` must go with the sampler dual_informed", "got tpe")),
    (SWEEP.replace("dual.step_size: {log_uniform: [0.003, 0.3]}", "train.lr: {log_uniform: [0.003, 0.3]}"),
     RECIPE + "dual: {rule: fixed, start: 0.1}\n",
     ("multipliers that answer to their budgets", "dual.rule: fixed", "such as ascent")),
])  # fmt: skip
def test_what_it_cannot_search_is_refused(tmp_path: Path, sweep: str, recipe: str, said: tuple[str, ...]) -> None:
    text = refused(tmp_path, sweep, recipe)
    for each in said:
        assert each in text, text


def test_budgets_in_every_sense(tmp_path: Path) -> None:
    for word in ("at_most", "equals"):
        write(tmp_path, SWEEP.replace("at_most", word), RECIPE.replace("at_most", word))
        found: Plan = plan_at(tmp_path)
        with Study(found, tmp_path / word) as study:
            assert study.ask().params[f"constraints.four.{word}"] == 0.08


def plan_at(folder: Path) -> Plan:
    return load_plan(folder / "sweep.yaml")
