"""The searched budgets of a plan: told once, from the search and the recipe that it varies."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from dualsweep.analysis.budgets import read_budgets, write_budgets
from dualsweep.analysis.trials import Budget
from tests.sweeps.files import RECIPE, plan, write

FOUR, FIVE = "constraints.four.at_most", "constraints.five.at_most"


def budgets(folder: Path, search: str, recipe: str = RECIPE) -> tuple[Budget, ...]:
    write(folder, recipe=recipe)
    text = f"name: s\nrecipe: recipe.yaml\nsearch: {search}\ntrials: 2\n"
    (folder / "sweep.yaml").write_text(text)
    return plan(folder, sweep=text).budgets


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        ("{constraints.*.at_most: {uniform: [0.08, 0.25]}}", [("constraints.*.at_most", ("four", "five"), 0.08, 0.25)]),
        ("{'constraints.[*].at_most': {uniform: [0.1, 0.2]}}", [(FOUR, ("four",), 0.1, 0.2), (FIVE, ("five",), 0.1, 0.2)]),
        ("{train.lr: {uniform: [0.1, 0.2]}, constraints.five.at_most: {choice: [2, 1]}}", [(FIVE, ("five",), 1.0, 2.0)]),
        ("{train.lr: {uniform: [0.1, 0.2]}}", []),
    ],
)
def test_which_parameters_are_budgets_of_what_and_over_which_range(
    tmp_path: Path, search: str, expected: list[tuple[str, tuple[str, ...], float, float]]
) -> None:
    assert list(budgets(tmp_path, search)) == [Budget(name, names, "at_most", low, high) for name, names, low, high in expected]


def test_how_a_budget_is_drawn(tmp_path: Path) -> None:
    log, whole = budgets(tmp_path, f"{{{FOUR}: {{log_uniform: [0.1, 0.2]}}, {FIVE}: {{int: [1, 3]}}}}")
    assert (log.log, log.whole, whole.log, whole.whole) == (True, False, False, True)
    assert log.tolerance is None, "each trial's own budget gives it"
    assert whole.tolerance == pytest.approx(0.02 * 2)


def test_a_list_of_one_is_no_range_but_a_searched_budget_all_the_same(tmp_path: Path) -> None:
    [one] = budgets(tmp_path, f"{{{FOUR}: {{choice: [0.1]}}}}")
    assert not one.is_range and one.tolerance is None
    found = plan(tmp_path, sweep=(tmp_path / "sweep.yaml").read_text())
    assert found.searched == found.own_tolerances == {"four"} and not found.ranges and not found.tolerances


@pytest.mark.parametrize("key", ["feasibility.tolerance", "feasibility"])
def test_a_searched_tolerance_stands_above_those_of_the_ranges(tmp_path: Path, key: str) -> None:
    values: list[Any] = [0.0, 0.002, {"five": 0.003}, None]
    written = values if key == "feasibility.tolerance" else [{"tolerance": each} for each in values]
    own = f"{key}: {{choice: {json.dumps(written)}}}"
    budgets(tmp_path, f"{{constraints.*.at_most: {{uniform: [0.08, 0.28]}}, {own}}}")
    search = plan(tmp_path, sweep=(tmp_path / "sweep.yaml").read_text())
    of_range = {"four": pytest.approx(0.004), "five": pytest.approx(0.004)}
    assert search.tolerances == of_range
    found = [search.trial_recipe({"constraints.*.at_most": 0.1, key: each}).feasibility.tolerance for each in written]
    assert found == [0.0, 0.002, of_range | {"five": 0.003}, of_range]


def test_what_holds_no_numbers_has_no_ends(tmp_path: Path) -> None:
    assert not Budget("p", ("a",), "at_most", math.nan, math.nan).is_range


def test_a_review_reads_back_what_it_needs(tmp_path: Path) -> None:
    [tied] = budgets(tmp_path, "{constraints.*.at_most: {uniform: [0.08, 0.25]}}")
    text = write_budgets([tied])
    assert text == (
        '[{"parameter": "constraints.*.at_most", "constraints": ["four", "five"], "sense": "at_most", "low": 0.08, "high": 0.25, '
        '"log": false}]'
    )
    assert read_budgets(text, "run") == (tied,)
