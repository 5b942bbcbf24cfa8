"""The study in memory that is kept from one ask to the next: a trial depends on the trials before it, not on the process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState, create_trial

from dualsweep.sweeps.dual_informed.outcome import Outcome
from dualsweep.sweeps.studies.memory import MemoryStudy
from dualsweep.sweeps.studies.samplers import distributions, sampler_for
from dualsweep.sweeps.studies.study import Study
from tests.sweeps.files import plan
from tests.sweeps.studies.test_samplers import GRID, NARROW, SEARCH, answer


def two_at_a_time(study: Study, number: int) -> dict[str, Any]:
    """Asks for trial `number`, and ends the one before it: complete, or at times failed or stopped."""
    asked = study.ask()
    if number:
        before = {each.number: each for each in study.unfinished()}[number - 1]
        values, slacks = answer(before.params, len(study.plan.objectives))
        told = Outcome(values[0], {name: 0.5 - slack for name, slack in slacks.items()}, dict.fromkeys(slacks, 0.1))
        study.tell(before.number, values, slacks, failed=number % 7 == 5, stopped=number % 7 == 6, outcome=told)
    return asked.params


@pytest.mark.parametrize(("name", "count"), [("tpe", 24), ("nsga2", 40), ("gp", 9), ("dual_informed", 14), ("grid", 12)])
def test_each_ask_of_a_process_of_its_own_places_what_one_process_does(tmp_path: Path, name: str, count: int) -> None:
    sweep = {"gp": NARROW, "grid": GRID}.get(name, SEARCH)
    search = plan(tmp_path, f"sampler.name={name}", "trials=60", sweep=sweep)
    with Study(search, tmp_path / "one") as study:
        one = [two_at_a_time(study, number) for number in range(count)]
    each_its_own = []
    for number in range(count):
        with Study(search, tmp_path / "each") as study:
            each_its_own.append(two_at_a_time(study, number))
    assert each_its_own == one


def test_what_was_placed_and_never_written_is_forgotten(tmp_path: Path) -> None:
    search = plan(tmp_path, "sampler.name=tpe", sweep=SEARCH)
    memory, space = MemoryStudy(search), distributions(search)
    lost = memory.of([], sampler_for(search, 0)).ask(space).params
    again = memory.of([], sampler_for(search, 0)).ask(space)
    assert (again.number, again.params) == (0, lost)


def test_a_trial_that_ran_is_there_as_it_ended(tmp_path: Path) -> None:
    search = plan(tmp_path, "sampler.name=random", sweep=NARROW)
    memory, space = MemoryStudy(search), distributions(search)
    asked = memory.of([], sampler_for(search, 0)).ask(space)
    for state, values in ((TrialState.RUNNING, None), (TrialState.COMPLETE, [1.0])):
        trial = create_trial(
            state=state,
            values=values,
            params=asked.params,
            distributions=space,
            user_attrs={"told": 1},
            constraints={"four": -0.5},
        )
        (kept,) = memory.of([trial], sampler_for(search, 1)).get_trials()
        assert (kept.state, kept.values, kept.user_attrs, kept.constraints) == (state, values, {"told": 1}, {"four": -0.5})
