"""Searches come back exactly: five trials, a new process's study and five more are the ten of an uninterrupted search."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from dualsweep.sweeps.planning.kinds import Choice, Integers, LogUniform, Uniform
from dualsweep.sweeps.studies.samplers import decode, encode
from dualsweep.sweeps.studies.study import Study
from tests.sweeps.files import plan

SEARCH = """\
name: s
recipe: recipe.yaml
search:
  dual.step_size: {log_uniform: [0.003, 0.3]}
  constraints.*.at_most: {uniform: [0.08, 0.25]}
  dual.every: {int: [1, 8]}
  model.unet.channels: {choice: [[16, 32], [32, 64]]}
set: {train.steps: 840}
trials: 24
"""
NARROW = """\
name: s
recipe: recipe.yaml
search: {dual.step_size: {log_uniform: [0.003, 0.3]}}
objectives: {objective: minimize}
trials: 24
"""
GRID = """\
name: s
recipe: recipe.yaml
search:
  dual.rule: {choice: [ascent, nu_pi]}
  dual.every: {int: [1, 6]}
sampler: grid
trials: 100
"""


def answer(params: dict[str, Any], objectives: int) -> tuple[list[float], dict[str, float]]:
    """A smooth trade-off whose constraint holds in about half of the space."""
    budget, step = params.get("constraints.*.at_most", 0.1), params.get("dual.step_size", 0.03)
    miss = abs(math.log10(step / 0.03))
    return [1 - budget + miss, budget + 0.1 * miss][:objectives], {"four": 0.5 - miss, "five": budget - 0.1}


def go(study: Study, count: int) -> list[dict[str, Any]]:
    proposals = []
    for _ in range(count):
        asked = study.ask()
        values, slacks = answer(asked.params, len(study.plan.objectives))
        study.tell(asked.number, values, slacks)
        proposals.append(asked.params)
    return proposals


@pytest.mark.parametrize(
    ("name", "count"), [("tpe", 20), ("nsga2", 40), ("gp", 6), ("random", 10), ("quasi_random", 10), ("grid", 10)]
)
def test_an_interrupted_search_is_the_uninterrupted_one(tmp_path: Path, name: str, count: int) -> None:
    sweep = {"grid": GRID, "gp": NARROW}.get(name, SEARCH)  # a Gaussian process takes seconds an ask
    search = plan(tmp_path, f"sampler.name={name}", "sampler.seed=3", "trials=48", sweep=sweep)
    count = min(count, search.trials)
    with Study(search, tmp_path / "straight") as study:
        straight = go(study, count)
    parts: list[dict[str, Any]] = []
    for size in (count // 2, 1, count - count // 2 - 1):
        with Study(search, tmp_path / "parts") as study:
            parts += go(study, size)
    assert parts == straight
    with Study(plan(tmp_path, f"sampler.name={name}", "sampler.seed=4", "trials=48", sweep=sweep), tmp_path / "other") as study:
        assert go(study, count) != straight


@pytest.mark.parametrize("name", ["tpe", "nsga2", "random", "quasi_random"])
def test_values_are_in_their_ranges_and_none_repeats(tmp_path: Path, name: str) -> None:
    with Study(plan(tmp_path, f"sampler={name}", sweep=SEARCH), tmp_path / "out") as study:
        proposals = go(study, 12)
    for params in proposals:
        assert 0.003 <= params["dual.step_size"] <= 0.3
        assert 0.08 <= params["constraints.*.at_most"] <= 0.25
        assert params["dual.every"] in range(1, 9) and isinstance(params["dual.every"], int)
        assert params["model.unet.channels"] in ([16, 32], [32, 64])
    assert len({str(params) for params in proposals}) == len(proposals)


def test_a_grid_gives_every_point_once_and_no_more(tmp_path: Path) -> None:
    search = plan(tmp_path, sweep=GRID)
    assert search.trials == 12
    with Study(search, tmp_path / "out") as study:
        found = go(study, study.remaining)
        assert study.remaining == 0
        with pytest.raises(RuntimeError, match="within the plan's 12"):
            study.ask()
    points = {(params["dual.rule"], params["dual.every"]) for params in found}
    assert points == {(rule, every) for rule in ("ascent", "nu_pi") for every in range(1, 7)}


def test_the_sobol_start_covers_the_space(tmp_path: Path) -> None:
    """Eight points of a Sobol sequence have one in each eighth of every range."""
    with Study(plan(tmp_path, "sampler=quasi_random", sweep=SEARCH), tmp_path / "out") as study:
        found = go(study, 8)
    assert sorted(params["dual.every"] for params in found) == list(range(1, 9))
    assert sum(params["model.unet.channels"] == [16, 32] for params in found) == 4


def test_with_running_trials_a_new_one_differs(tmp_path: Path) -> None:
    with Study(plan(tmp_path, sweep=SEARCH), tmp_path / "out") as study:
        go(study, 10)
        asked = [study.ask() for _ in range(4)]
    assert len({str(each.params) for each in asked}) == 4


@pytest.mark.parametrize("values", [(1, 2.5, "a", None), (1, True), ([1], {"a": 2}, "x"), ("[1]", [1])])
def test_every_choice_is_kept_and_comes_back(values: tuple[Any, ...]) -> None:
    kept = encode(Choice(values))
    assert len(set(kept)) == len(values)
    back = [decode(Choice(values), each) for each in kept]
    assert back == list(values) and [type(each) for each in back] == [type(each) for each in values]


def test_kinds_map_the_unit_interval_onto_their_values() -> None:
    assert [Uniform(-1.0, 3.0).at(unit) for unit in (0, 0.5, 1)] == [-1, 1, 3]
    assert [LogUniform(0.01, 1.0).at(unit) for unit in (0, 0.5, 1)] == pytest.approx([0.01, 0.1, 1])
    assert [Integers(2, 4).at(unit) for unit in (0, 0.33, 0.34, 0.67, 1)] == [2, 2, 3, 4, 4]
    assert [Choice(("a", "b")).at(unit) for unit in (0, 0.49, 0.5, 1)] == ["a", "a", "b", "b"]
