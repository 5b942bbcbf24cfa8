"""Trials that a sweep does not place by itself: those of other sweeps, and the points to be tried first."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml

from dualsweep.sweeps.dual_informed.of_plan import outcome_of
from dualsweep.sweeps.planning.load import load_plan
from dualsweep.sweeps.planning.plan import Plan
from dualsweep.sweeps.records.explained import RECIPE as RECIPE_FILE
from dualsweep.sweeps.records.trial_record import TrialRecord
from dualsweep.sweeps.studies.kept import STUDY
from dualsweep.sweeps.studies.study import Study
from dualsweep.trainer.config.diagnostics import InputError
from dualsweep.trainer.result import ConstraintOutcome, Result, failed
from tests.sweeps.files import RECIPE, plan, write

SWEEP = """\
name: s
recipe: recipe.yaml
search:
  dual.step_size: {log_uniform: [0.003, 0.3]}
  dual.every: {choice: [1, 2, 5]}
  constraints.[*].at_most: {uniform: [0.08, 0.25]}
trials: 4
"""
NAMES = ("dual.step_size", "dual.every", "constraints.four.at_most", "constraints.five.at_most")


def result(params: Mapping[str, Any]) -> Result:
    budgets = {name: float(params[f"constraints.{name}.at_most"]) for name in ("four", "five")}
    outcomes = {name: ConstraintOutcome(b + 0.01, b, -0.01, 0.001, 0.01 / b**2) for name, b in budgets.items()}
    objective = sum(0.01 / b for b in budgets.values())
    return Result(
        "converged", "", objective, 0.001, outcomes, "undecided", 1, 1.0, None, {"objective": objective, "value/max": 0.2}
    )


def ended(folder: Path, search: Plan, *rows: tuple[float, int, float, float] | None) -> list[dict[str, Any]]:
    """A finished sweep as it lies in its output folder: a trial for each row of values; None for one that failed."""
    made = []
    for number, row in enumerate(rows):
        params = dict(zip(NAMES, row or (0.1, 1, 0.1, 0.1), strict=True))
        made.append(params)
        TrialRecord(number, params, result(params) if row else failed("no memory")).save(folder)
    return made


def in_optuna(output: Path) -> list[optuna.trial.FrozenTrial]:
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(output / "study.journal")))
    return optuna.load_study(study_name=None, storage=storage).trials


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """An earlier sweep: two trials within the ranges, one beyond each kind of range, one that failed."""
    rows = [(0.01, 1, 0.1, 0.2), (0.02, 5, 0.24, 0.09), (0.5, 1, 0.1, 0.1), (0.01, 3, 0.1, 0.1), (0.01, 1, 0.3, 0.1)]
    ended(tmp_path / "earlier", plan(tmp_path, sweep=SWEEP), *rows, None)
    return tmp_path / "earlier"


def test_another_sweeps_trials_are_in_the_study_and_not_of_the_sweep(tmp_path: Path, earlier: Path) -> None:
    search = plan(tmp_path, f"warm_start=[{earlier}]", sweep=SWEEP)
    with Study(search, tmp_path / "out") as study:
        assert study.said == (f"warm start: 2 trials of {earlier}; left out: 3 outside the ranges, 1 without an end to rely on",)
        assert (study.states, study.finished, study.remaining) == ({}, 0, 4)
        asked = [study.ask(), study.ask()]
        assert [each.number for each in asked] == [0, 1]
        study.tell(1, [1.0, 2.0], {"four": 0.1, "five": 0.1})
    with Study(search, tmp_path / "out") as study:
        assert study.unfinished() == [asked[0]] and study.states == {0: "running", 1: "complete"} and study.remaining == 2


def test_another_sweeps_trials_are_optunas_with_all_they_have(tmp_path: Path, earlier: Path) -> None:
    with Study(plan(tmp_path, f"warm_start=[{earlier}]", sweep=SWEEP), tmp_path / "out") as study:
        study.tell(study.ask().number, None, failed=True)
        study.tell(study.ask().number, [1.0, 2.0], {"four": 0.1, "five": 0.1})
    first, second, *own = in_optuna(tmp_path / "out")
    assert [each.state.name for each in own] == ["FAIL", "COMPLETE"] and own[1].values == [1.0, 2.0]
    assert first.user_attrs["dualsweep.warm_start"] == f"{earlier} 0000" and second.params["dual.every"] == 5
    assert first.values == pytest.approx([0.15, 0.2]) and first.constraints["four"] == pytest.approx(0.01)


def test_the_sampler_begins_with_them(tmp_path: Path, earlier: Path) -> None:
    """TPE leaves its Sobol start where the trials of another sweep make up for it."""
    rows = [(0.01 + 0.001 * n, 1, 0.1 + 0.01 * n, 0.1) for n in range(12)]
    ended(tmp_path / "many", plan(tmp_path, sweep=SWEEP), *rows)
    asked = []
    for name, sets in (("cold", []), ("warm", [f"warm_start=[{tmp_path / 'many'}]"])):
        with Study(plan(tmp_path, *sets, sweep=SWEEP), tmp_path / name) as study:
            asked.append(study.ask().params)
    assert asked[0] != asked[1]


def test_multipliers_of_another_sweep_narrow_the_band(tmp_path: Path) -> None:
    informed = SWEEP + "sampler: {name: dual_informed, tolerance: 0.3}\n"
    rows = [(0.01, 1, a, b) for a in (0.08, 0.12, 0.2, 0.25) for b in (0.08, 0.12, 0.2, 0.25)]
    ended(tmp_path / "earlier", plan(tmp_path, sweep=SWEEP), *rows)
    with Study(plan(tmp_path, sweep=informed), tmp_path / "cold") as study:
        assert study.stopped is None
    with Study(plan(tmp_path, f"warm_start=[{tmp_path / 'earlier'}]", sweep=informed), tmp_path / "warm") as study:
        assert "16 trials" in study.said[0] and study.stopped is not None and study.remaining == 0


def test_a_study_in_a_storage_may_be_the_source(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/study.db"
    with Study(plan(tmp_path, f"storage={url}", sweep=SWEEP), tmp_path / "first") as study:
        asked = [study.ask() for _ in range(3)]
        for trial in asked[:2]:
            done = result(trial.params)
            values, slacks = list(done.metrics.values()), {name: one.slack for name, one in done.constraints.items()}
            study.tell(trial.number, values, slacks, failed=trial.number == 1)
    name = yaml.safe_load((tmp_path / "first" / STUDY).read_text())["study"]
    warm = [f"warm_start=[{{storage: '{url}', study: {name}}}]", "trials=1"]
    with Study(plan(tmp_path, *warm, sweep=SWEEP), tmp_path / "second") as study:
        assert study.said == (f"warm start: 1 trials of {url} {name}; left out: 1 without an end to rely on",)
    assert in_optuna(tmp_path / "second")[0].params == asked[0].params
    fixed = [*warm, "search.dual.every=null"]
    with pytest.raises(InputError, match="must be a sweep over the same parameters"):
        Study(plan(tmp_path, *fixed, sweep=SWEEP), tmp_path / "third")
    with pytest.raises(InputError, match=r"must name a study at .*, but got x where there are s-"):
        Study(plan(tmp_path, f"warm_start=[{{storage: '{url}', study: x}}]", sweep=SWEEP), tmp_path / "third")


def test_trials_under_other_constraints_are_left_out(tmp_path: Path) -> None:
    one = SWEEP.replace("constraints.[*].at_most", "constraints.four.at_most")
    url = f"sqlite:///{tmp_path}/study.db"
    with Study(plan(tmp_path, f"storage={url}", sweep=one), tmp_path / "first") as study:
        study.tell(study.ask().number, [1.0, 1.0], {"four": 0.1, "five": 0.1})
    (tmp_path / "recipe.yaml").write_text(RECIPE.replace("{classes: [5]}, at_most: 0.12", "{classes: [5]}, at_most: 0.2"))
    (tmp_path / "sweep.yaml").write_text(one + f"warm_start: [{{storage: '{url}'}}]\n")
    with Study(load_plan(tmp_path / "sweep.yaml"), tmp_path / "second") as study:
        assert study.said[0].endswith("left out: 1 with other constraints")


INFORMED = """\
name: s
recipe: recipe.yaml
search:
  constraints.four.at_most: {uniform: [0.08, 0.25]}
  constraints.five.at_most: {uniform: [0.08, 0.25]}
trials: 4
"""


@pytest.mark.parametrize(
    ("old", "new", "sampler", "left_out"),
    [
        ("{classes: [5]}", "{classes: [7]}", "tpe", "1 with other constraints"),
        ("channels: [16, 32]", "channels: [16, 16]", "tpe", ""),
        ("channels: [16, 32]", "channels: [16, 16]", "dual_informed", "1 of another problem (model.unet.channels"),
        ("4: 0.1", "4: 0.5", "dual_informed", "1 of another problem (data.keep"),
        ("steps: 1500", "steps: 1000", "tpe", ""),
    ],
)
def test_trials_of_another_problem_are_left_out(tmp_path: Path, old: str, new: str, sampler: str, left_out: str) -> None:
    url = f"sqlite:///{tmp_path}/study.db"
    with Study(plan(tmp_path, f"storage={url}", sweep=INFORMED), tmp_path / "first") as study:
        study.tell(study.ask().number, [1.0, 1.0], {"four": 0.1, "five": 0.1})
    assert old in RECIPE
    (tmp_path / "recipe.yaml").write_text(RECIPE.replace(old, new))
    (tmp_path / "sweep.yaml").write_text(f"{INFORMED}sampler: {sampler}\nwarm_start: [{{storage: '{url}'}}]\n")
    with Study(load_plan(tmp_path / "sweep.yaml"), tmp_path / "second") as study:
        assert (f"left out: {left_out}" in study.said[0]) if left_out else ("left out" not in study.said[0]), study.said


@pytest.mark.parametrize("source", ["storage", "folder"])
@pytest.mark.parametrize(
    ("theirs", "mine"),
    [
        ("", ""),
        ("", "set: {feasibility.tolerance: {four: 0.004}, feasibility.confidence: 0.9}\n"),
        ("search.constraints.four.at_most.uniform=[0.1, 0.2]", ""),
    ],
)
def test_how_a_constraint_counts_as_met_is_not_the_problem(tmp_path: Path, theirs: str, mine: str, source: str) -> None:
    """Tolerances follow from the searched ranges, which may differ; values and multipliers know nothing of them."""
    url, informed = f"sqlite:///{tmp_path}/study.db", INFORMED + "sampler: dual_informed\n"
    first = plan(tmp_path, f"storage={url}", *filter(None, [theirs]), sweep=informed)
    with Study(first, tmp_path / "first") as study:
        asked = study.ask()
        done = result({"constraints.four.at_most": 0.1, "constraints.five.at_most": 0.1})
        slacks = {name: each.slack for name, each in done.constraints.items()}
        study.tell(asked.number, list(done.metrics.values()), slacks, outcome=outcome_of(first, done))
    TrialRecord(asked.number, asked.params, done).save(tmp_path / "first")
    file = tmp_path / "first" / "artifacts" / "0000" / RECIPE_FILE
    file.parent.mkdir(parents=True)
    file.write_text(yaml.safe_dump(first.trial_recipe(asked.params).model_dump(mode="json")))
    place = f"{{storage: '{url}'}}" if source == "storage" else str(tmp_path / "first")
    with Study(plan(tmp_path, f"warm_start=[{place}]", sweep=informed + mine), tmp_path / "second") as study:
        assert len(study.said) == 1 and study.said[0].startswith("warm start: 1 trials of") and "left out" not in study.said[0]


@pytest.mark.parametrize("channels", ["[[8, 16], [16, 32]]", "[[8, 8], [24, 24]]", None])
def test_choices_of_lists_in_a_storage(tmp_path: Path, channels: str | None) -> None:
    """Optuna keeps them as text: of this sweep's choices, of others, and of a key that this sweep does not search."""
    url, key = f"sqlite:///{tmp_path}/study.db", "search.model.unet.channels"
    with Study(
        plan(tmp_path, f"storage={url}", f"{key}.choice=[[8, 16], [16, 32]]", sweep=INFORMED), tmp_path / "first"
    ) as study:
        study.tell(study.ask().number, [1.0, 1.0], {"four": 0.1, "five": 0.1})
    warm = [f"warm_start=[{{storage: '{url}'}}]", *([f"{key}.choice={channels}"] if channels else [])]
    if channels is None:
        with pytest.raises(InputError, match=r"must be a sweep over the same parameters, but got .*`model\.unet\.channels`"):
            Study(plan(tmp_path, *warm, sweep=INFORMED), tmp_path / "second")
        return
    with Study(plan(tmp_path, *warm, sweep=INFORMED), tmp_path / "second") as study:
        left_out = "" if "16, 32" in channels else "; left out: 1 outside the ranges"
        assert study.said[0].endswith(f"{url}{left_out}")


def test_a_study_whose_recipe_this_version_does_not_read_gives_no_trials(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/study.db"
    with Study(plan(tmp_path, f"storage={url}", sweep=INFORMED), tmp_path / "first") as study:
        study.tell(study.ask().number, [1.0, 1.0], {"four": 0.1, "five": 0.1})
    kept = optuna.load_study(study_name=None, storage=url)
    whole = kept.user_attrs["dualsweep"]
    kept.set_user_attr("dualsweep", {**whole, "recipe": {**whole["recipe"], "gone": 1}})
    with Study(plan(tmp_path, f"warm_start=[{{storage: '{url}'}}]", sweep=INFORMED), tmp_path / "second") as study:
        assert study.said[0].endswith("left out: 1 with a recipe that this version does not read")


@pytest.mark.parametrize(
    ("sets", "told"),
    [
        (["points=[{dual.stepsize: 1}]"], "points.0.dual.stepsize: must name a searched parameter, but got `dual.stepsize`"),
        (["points=[{dual.every: 3}]"], "points.0.dual.every: must be within choice [1, 2, 5], but got 3"),
        (["points=[{}, {dual.step_size: 0.5}]"], "points.1.dual.step_size: must be within log_uniform [0.003, 0.3], but got 0.5"),
        (["points=[{dual.every: true}]"], "points.0.dual.every: must be within choice [1, 2, 5], but got True"),
        (["warm_start=[nowhere]"], "warm_start.0: must be the output folder of a sweep, but got 'nowhere' without `records`"),
        (["warm_start=[{storage: redis://h}]"], "warm_start.0: must be a journal's path or a database's URL"),
        (["warm_start=[{output: a, storage: b}]"], "must hold exactly one of `output`, `storage`"),
        (["warm_start=[{output: a, study: b}]"], "`study` must go with `storage`"),
        (["warm_start=[.]", "sampler=random"], "warm_start: must go with a sampler that learns from them: tpe, gp"),
        (["seeds=0"], "seeds: must be greater than or equal to 1, but got 0"),
        (["seeds=3", "search.seed.choice=[1, 2]"], "seeds: must be 1 where the search varies `seed`, but got 3"),
        (["seeds=3", "seed=2147483646"], "seeds: must leave every seed below 2147483648, but got 3 from 2147483646 on"),
    ],
)  # fmt: skip
def test_bad_input_is_told_by_its_line(tmp_path: Path, sets: list[str], told: str) -> None:
    with pytest.raises(InputError) as caught:
        plan(tmp_path, *sets, sweep=SWEEP)
    assert any(told in str(each) and ":1: " in str(each) for each in caught.value.diagnostics), caught.value


def test_points_come_first_and_the_sampler_fills_in_what_they_leave_open(tmp_path: Path) -> None:
    given = SWEEP + "points:\n  - {dual.step_size: 0.05, dual.every: 5, constraints.four.at_most: 0.1, "
    given += "constraints.five.at_most: 0.2}\n"
    given += "  - {dual.every: 2}\n"
    whole = {"dual.step_size": 0.05, "dual.every": 5, "constraints.four.at_most": 0.1, "constraints.five.at_most": 0.2}
    with Study(load_plan(write(tmp_path, given)), tmp_path / "out") as study:
        assert study.ask().params == whole
    with Study(load_plan(tmp_path / "sweep.yaml"), tmp_path / "out") as study:
        second, third = study.ask().params, study.ask().params
        assert second["dual.every"] == 2 and second.keys() == third.keys() == whole.keys()
        assert 0.003 <= second["dual.step_size"] <= 0.3
    with pytest.raises(InputError, match=r"points\.0\.dual\.step_size: must stay as it was when this sweep began"):
        Study(load_plan(tmp_path / "sweep.yaml", ["points=[]"]), tmp_path / "out")


def test_points_of_the_sampler_that_searches_by_multipliers(tmp_path: Path) -> None:
    informed = SWEEP + "sampler: dual_informed\npoints: [{constraints.four.at_most: 0.2}]\n"
    with Study(load_plan(write(tmp_path, informed)), tmp_path / "out") as study:
        assert study.ask().params["constraints.four.at_most"] == 0.2
