"""The certified band of a record, against a front that is known: f = 0.05 + sum_i a_i / b_i, with multipliers a_i / b_i²."""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dualsweep.analysis.bands import Certificate, certificate, slices
from dualsweep.analysis.budgets import read_budgets, write_budgets
from dualsweep.analysis.errors import ReviewError
from dualsweep.analysis.front import find_front
from dualsweep.analysis.judging import constraint_outcomes, judge
from dualsweep.analysis.review import review
from dualsweep.analysis.trials import Budget, Direction, SweepRecord, Trial
from dualsweep.trainer.recipe.bound import Sense
from tests.analysis.page import text_in

COSTS = {"four": 0.004, "five": 0.002}


def known(budgets: Mapping[str, float], costs: Mapping[str, float] = COSTS) -> float:
    return 0.05 + sum(costs[name] / budget for name, budget in budgets.items())


def sweep(
    count: int, *, names: tuple[str, ...] = ("four",), maximize: bool = False, at_least: bool = False,
    costs: Mapping[str, float] = COSTS,
) -> SweepRecord:  # fmt: skip
    """Exact trainings at random budgets; mirrored where the objective is maximised or the constraint is from below."""
    draw, trials = random.Random(0), []
    up, to_user = (-1.0 if maximize else 1.0), (-1.0 if at_least else 1.0)
    for number in range(count):
        budgets = {name: draw.uniform(0.08, 0.25) for name in names}
        metrics = {"objective": up * known(budgets, costs), "feasible": 1.0}
        for name, budget in budgets.items():
            metrics |= {f"value/{name}": to_user * budget, f"budget/{name}": to_user * budget, f"slack/{name}": 0.0}
            metrics |= {f"slack_error/{name}": 0.0, f"multiplier/{name}": costs[name] / budget**2}
        params = {f"constraints.{name}.at_most": to_user * budget for name, budget in budgets.items()}
        trials.append(
            Trial(f"{number:04d}", f"{number:032x}", "converged", "", params, metrics, constraint_outcomes(metrics, {}))
        )
    ends = (-0.25, -0.08) if at_least else (0.08, 0.25)
    sense: Sense = "at_least" if at_least else "at_most"
    searched = tuple(Budget(f"constraints.{name}.at_most", (name,), sense, *ends) for name in names)
    objectives: dict[str, Direction] = {"objective": "maximize" if maximize else "minimize"}
    objectives |= {f"value/{name}": "maximize" if at_least else "minimize" for name in names}
    judged = judge(trials, list(objectives))
    return SweepRecord("1", "s", "p", objectives, None, judged, searched, maximizes=maximize)


@pytest.mark.parametrize(("maximize", "at_least"), [(False, False), (True, False), (False, True), (True, True)])
def test_the_band_holds_the_known_front_in_every_direction(maximize: bool, at_least: bool) -> None:
    record = sweep(6, maximize=maximize, at_least=at_least)
    (band,) = slices(record, find_front(record))
    assert band.through is None
    truth = np.array([(-1 if maximize else 1) * known({"four": abs(number)}) for number in band.at])
    lower, upper, front = np.array(band.lower), np.array(band.upper), np.array(band.front)
    assert (lower <= truth + 1e-9).all() and (truth <= upper + 1e-9).all()
    inside = np.isfinite(lower) & np.isfinite(upper)
    spread = known({"four": 0.08}) - known({"four": 0.25})
    assert inside.sum() > 25 and (upper - lower)[inside].mean() < 0.1 * spread
    assert np.abs(front - truth)[inside].max() < 0.02 * spread


def test_with_several_budgets_it_is_a_slice_through_each_trial_of_the_front() -> None:
    record = sweep(20, names=("four", "five"))
    front = find_front(record)
    bands = slices(record, front)
    assert {(each.budget.constraints[0], each.through) for each in bands} == {
        (name, trial_id) for name in COSTS for trial_id in front.ids
    }
    by_id = {trial.trial_id: trial for trial in record.trials}
    for band in bands[:6]:
        other = ({"four", "five"} - set(band.budget.constraints)).pop()
        kept = by_id[band.through or ""].metrics[f"budget/{other}"]
        truth = np.array([known({band.budget.constraints[0]: number, other: kept}) for number in band.at])
        assert (np.array(band.lower) <= truth + 1e-9).all() and (truth <= np.array(band.upper) + 1e-9).all()


def test_without_a_front_it_is_a_slice_through_the_least_violating_trial(tmp_path: Path) -> None:
    record = sweep(8, names=("four", "five"))
    missed = tuple(
        replace(each, standing="violated", metrics={**each.metrics, "violation/max": 1.0 + place})
        for place, each in enumerate(record.trials)
    )
    nothing = replace(record, trials=missed)
    bands = slices(nothing, find_front(nothing))
    assert [(each.budget.constraints[0], each.through) for each in bands] == [("four", "0000"), ("five", "0000")]
    assert '"through":"0000"' in text_in(review(nothing, tmp_path).front_html.read_text())


def test_no_slice_where_no_trial_may_be_sliced_through(tmp_path: Path) -> None:
    """Of the only one on the front no multiplier is known, and of trials without a finite objective no front is."""
    record = sweep(8, names=("four", "five"))
    best, *others = record.trials
    outcomes = tuple(replace(each, multiplier=math.nan) for each in best.constraints)
    blind = replace(best, constraints=outcomes, metrics={**best.metrics, "objective": 0.0, "value/four": 0.0, "value/five": 0.0})
    unmeasured = replace(record, objectives={"eval/fid": "minimize"})
    for bare in (replace(record, trials=(blind, *others)), unmeasured):
        assert slices(bare, find_front(bare)) == []
        assert review(bare, tmp_path).front_html.exists()


def test_many_budgets_are_sliced_through_few_trials_and_beyond_these_not_at_all() -> None:
    """Each point of a slice of more than 4 budgets is a linear program of milliseconds."""
    names = [f"g{place}" for place in range(80)]
    for count, through in ((6, 4), (80, 0)):
        record = sweep(12, names=tuple(names[:count]), costs=dict.fromkeys(names, 0.004))
        bands = slices(record, find_front(record))
        assert len({each.through for each in bands}) == through and len(bands) == count * through


def test_no_band_where_nothing_certifies_one() -> None:
    record = sweep(6)
    front = find_front(record)
    assert slices(SweepRecord("1", "s", "p", record.objectives, None, record.trials), front) == []  # no budget is recorded
    assert slices(SweepRecord("1", "s", "p", record.objectives, None, record.trials[:1], record.budgets), front) == []


def test_trials_that_contradict_each_other_are_named_and_the_band_is_not_called_certified() -> None:
    """A multiplier three times too large: the trials at tighter budgets lie below its plane."""
    record = sweep(6)
    assert certificate(record, find_front(record)) == Certificate(certified=True, sentences=())
    by_budget = sorted(record.trials, key=lambda trial: trial.metrics["value/four"])
    steep = by_budget[-1]
    metrics = {**steep.metrics, "multiplier/four": 3 * steep.metrics["multiplier/four"]}
    wrong = replace(steep, metrics=metrics, constraints=constraint_outcomes(metrics, {}))
    trials = tuple(wrong if trial is steep else trial for trial in record.trials)
    contradicted = certificate(replace(record, trials=trials), find_front(record))
    assert not contradicted.certified and contradicted.sentences[-1] == "The band holds only if the trainings converged."
    assert len(contradicted.sentences) > 1
    below = {trial.trial_id for trial in by_budget[:-1]}
    for sentence in contradicted.sentences[:-1]:
        said = re.fullmatch(r"Trial (\d+) lies below the plane of trial (\d+) by [\d.e-]+(, [\d.]+ standard errors)?\.", sentence)
        said_more = re.fullmatch(r"So (does 1 more pair|do \d+ more pairs) of trials\.", sentence)
        assert said_more or (said is not None and said[1] in below and said[2] == steep.trial_id)


def test_the_tag_is_read_as_it_was_written() -> None:
    budgets = (Budget("constraints.*.at_most", ("four", "five"), "at_most", 0.01, 0.25, log=True), *sweep(1).budgets)
    assert read_budgets(write_budgets(budgets), "r") == budgets
    plain = json.loads(write_budgets(budgets))[0]
    for wrong in ("nonsense", '{"a": 1}', "[1]", json.dumps([plain | {"sense": "up"}]), json.dumps([plain | {"low": math.inf}])):
        with pytest.raises(ReviewError, match=r"dualsweep.budgets of run r must be a JSON list"):
            read_budgets(wrong, "r")
