"""Which budgets decide what may be on a sweep's front: what a plan says and hands on."""

from __future__ import annotations

from pathlib import Path

import pytest

from dualsweep.sweeps.checking import checked_plan
from dualsweep.sweeps.describing import describe
from dualsweep.sweeps.trials.results import sweep_record
from tests.sweeps.files import SWEEP, plan

TIED = SWEEP.replace("constraints.[*].at_most", "constraints.*.at_most")
ONE = SWEEP.replace("constraints.[*].at_most", "constraints.four.at_most")
NONE = "name: digits-minority\nrecipe: recipe.yaml\nsearch: {dual.step_size: {log_uniform: [0.003, 0.3]}}\ntrials: 12\n"
CHOSEN = ONE.replace("{uniform: [0.08, 0.25]}", "{choice: [0.08, 0.25]}")
FOUR = "objectives: {objective: minimize, value/four: minimize}\n"
JUDGED = "objectives: {objective: minimize, eval/frechet: minimize}\n"
ALL = "every budget decides what may be on it"
KNOBS = "attained: searched budgets are knobs, "


@pytest.mark.parametrize(
    ("sweep", "more", "required", "said"),
    [
        (SWEEP, "", set(), KNOBS + "no budget decides what may be on it"),
        (TIED, "", set(), KNOBS + "no budget decides what may be on it"),
        (ONE, FOUR, {"five"}, KNOBS + "the budgets of `five` decide what may be on it"),
        (CHOSEN, FOUR, {"five"}, KNOBS + "the budgets of `five` decide what may be on it"),
        (ONE, "", None, f"{ALL}, as no objective is `value/four`, which searched budgets bound"),
        (SWEEP, JUDGED, None, f"{ALL}, as no objective is `value/four`, `value/five`, which searched budgets bound"),
        (NONE, "", None, ALL),
        (SWEEP, "front: {require: all}\n", None, ALL),
    ],
)  # fmt: skip
def test_the_plan_says_which_budgets_decide(tmp_path: Path, sweep: str, more: str, required: set[str] | None, said: str) -> None:
    made = plan(tmp_path, sweep=sweep + more)
    assert made.required == (None if required is None else frozenset(required))
    assert f"  front         {said}" in list(describe(checked_plan(made, str(tmp_path / "out"), None, None)))
    assert sweep_record(made, []).required == made.required
