"""Which trial a new one continues and with which multipliers, on a front that is known; that it is kept; what is refused."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dualsweep.analysis.front import find_front
from dualsweep.analysis.prices.shadow import Prices
from dualsweep.analysis.recommendation.recommend import recommend
from dualsweep.analysis.spreadsheet import write_trials
from dualsweep.sweeps.checking import checked_plan
from dualsweep.sweeps.conductor import Conductor
from dualsweep.sweeps.describing import describe
from dualsweep.sweeps.dual_informed.of_plan import outcome_of
from dualsweep.sweeps.planning.plan import Plan
from dualsweep.sweeps.records.trial_record import TrialRecord
from dualsweep.sweeps.records.trial_start import ProposedTrial, TrialStart, begun_recipe
from dualsweep.sweeps.runner import with_start
from dualsweep.sweeps.studies.study import Study
from dualsweep.sweeps.trials.restoring import restore
from dualsweep.sweeps.trials.results import sweep_record
from dualsweep.sweeps.trials.runs import OpenTrial
from dualsweep.trainer.config.diagnostics import InputError
from dualsweep.trainer.engine.stated_problem import problem_of
from dualsweep.trainer.result import ConstraintOutcome
from dualsweep.trainer.storage import MARKER
from tests.analysis.made_up import front_text, new_store
from tests.sweeps.dual_informed.test_of_plan import result
from tests.sweeps.files import RECIPE, plan, write
from tests.sweeps.test_runner import conducted

SWEEP = """\
name: s
recipe: recipe.yaml
search:
  constraints.[*].at_most: {uniform: [0.08, 0.25]}
sampler: quasi_random
trials: 40
continuation: true
"""
ONE = SWEEP.replace("[*]", "four")
TIED = SWEEP.replace("[*]", "*")


def end(folder: Path, asked: ProposedTrial, status: Any = "converged", checkpoint: bool = True) -> TrialRecord:
    """A trial that ended on the front f = 0.01 (1 / b_four + 1 / b_five), with a checkpoint that is complete."""
    place = folder / "trials" / f"{asked.number:04d}"
    place.mkdir(parents=True, exist_ok=True)
    if checkpoint:
        (place / MARKER).write_text("{}")
    done = result(asked.params, status)
    done = replace(done, checkpoint=str(place), metrics={**done.metrics, "feasible": 1.0})
    record = TrialRecord(asked.number, asked.params, done, start=asked.start)
    record.save(folder)
    return record


def go(study: Study, conductor: Conductor, folder: Path, count: int) -> list[ProposedTrial]:
    """So many trials, one after the other."""
    trials = []
    for _ in range(count):
        trials.append(with_start(conductor, study, folder, study.ask()))
        record = end(folder, trials[-1])
        values = [record.result.metrics[name] for name in study.plan.objectives]
        study.tell(record.number, values, {"four": 0.0, "five": 0.0}, outcome=outcome_of(study.plan, record.result))
    return trials


def started(asked: ProposedTrial) -> TrialStart:
    assert asked.start is not None
    return asked.start


@pytest.mark.parametrize("sweep", [ONE, SWEEP, TIED])
def test_the_nearest_is_continued_with_predicted_multipliers(tmp_path: Path, sweep: str) -> None:
    search = plan(tmp_path, sweep=sweep)
    with Study(search, tmp_path / "out") as study:
        trials = go(study, Conductor(search), tmp_path / "out", 12)
    assert started(trials[0]) == TrialStart()
    predicted, nearest = [], []
    for proposed in trials[1:]:
        others = trials[: proposed.number]
        near = min(others, key=lambda other: sum((other.params[name] - proposed.params[name]) ** 2 for name in proposed.params))
        assert started(proposed).trial == f"{near.number:04d}"
        assert started(proposed).checkpoint(None) == str(tmp_path / "out" / "trials" / f"{near.number:04d}")
        truth, there = (
            {name: one.multiplier for name, one in result(trial.params).constraints.items()} for trial in (proposed, near)
        )
        predicted.append(max(abs(started(proposed).multipliers[name] / truth[name] - 1) for name in truth))
        nearest.append(max(abs(there[name] / truth[name] - 1) for name in truth))
    assert sum(predicted[5:]) < 0.5 * sum(nearest[5:])
    assert max(predicted[5:]) < 0.25


def test_what_cannot_be_continued_is_passed_over(tmp_path: Path) -> None:
    """A trial whose multipliers are at their limit, one whose checkpoint is gone, one of another network, one still running."""
    sweep = ONE.replace("search:\n", "search:\n  model.unet.channels: {choice: [[8], [16, 32]]}\n")
    search, out = plan(tmp_path, sweep=sweep), tmp_path / "out"
    at = {"constraints.four.at_most": 0.1, "model.unet.channels": [16, 32]}
    with Study(search, out) as study:
        for _ in range(6):
            study.ask()
        for number, (budget, channels, status, there) in enumerate([
            (0.10, [16, 32], "infeasible", True), (0.11, [16, 32], "converged", False), (0.12, [8], "converged", True),
            (0.13, [16, 32], "diverged", True), (0.20, [16, 32], "out_of_steps", True),
        ]):  # fmt: skip
            asked = ProposedTrial(number, {"constraints.four.at_most": budget, "model.unet.channels": channels})
            end(out, asked, status, there)
        assert started(with_start(Conductor(search), study, out, ProposedTrial(5, at))).trial == "0004"


@pytest.mark.parametrize("key", ["dual.step_size", "train.lr", "seed"])
def test_trials_that_differ_in_how_they_are_trained_are_neighbours(tmp_path: Path, key: str) -> None:
    kind = "{int: [0, 9]}" if key == "seed" else "{log_uniform: [0.001, 0.1]}"
    search, out = plan(tmp_path, sweep=ONE.replace("search:\n", f"search:\n  {key}: {kind}\n")), tmp_path / "out"
    with Study(search, out) as study:
        assert [started(each).trial for each in go(study, Conductor(search), out, 2)] == [None, "0000"]


def test_a_start_is_decided_once(tmp_path: Path) -> None:
    """Trials that end between a kill and the same command again, or beside it, do not change where a trial starts."""
    search, out = plan(tmp_path, sweep=ONE), tmp_path / "out"
    with Study(search, out) as study:
        conductor = Conductor(search)
        beside = [with_start(conductor, study, out, study.ask()) for _ in range(3)]
        assert [started(each) for each in beside] == [TrialStart()] * 3  # nothing had ended
        end(out, beside[0])
        fourth = with_start(conductor, study, out, study.ask())
        assert started(fourth).trial == "0000"
    with Study(search, out) as study:
        for each in beside[1:]:
            end(out, each)
        again = study.unfinished()
        conductor = Conductor(search)
        assert [with_start(conductor, study, out, each) for each in again] == [*beside, fourth]


def test_several_trainings_start_each_from_that_of_their_seed(tmp_path: Path) -> None:
    search, out = plan(tmp_path, "seeds=2", sweep=ONE), tmp_path / "out"
    with Study(search, out) as study:
        conductor = Conductor(search)
        first = OpenTrial(search, with_start(conductor, study, out, study.ask()), {})
        for run in first.runs:
            place = out / "trials" / run.folder
            place.mkdir(parents=True)
            (place / MARKER).write_text("{}")
            first.end(run, replace(result(run.asked.params), checkpoint=str(place)))
        assert first.record is not None and first.record.start == TrialStart()
        first.record.save(out)
        second = OpenTrial(search, with_start(conductor, study, out, study.ask()), {})
    for run in second.runs:
        assert run.recipe.start is not None
        assert run.recipe.start.place == str(out / "trials" / "0000" / f"seed-{run.seed}")
        assert run.recipe.seed == run.seed


def test_a_continued_recipe(tmp_path: Path) -> None:
    recipe = RECIPE.replace("lr: 2.0e-3}", "lr: 2.0e-3, lr_warmup: 100}\ndual: {every: 5, warmup: 200, step_size: 0.02}")
    write(tmp_path, SWEEP, recipe)
    begun = TrialStart.of("0003", {None: "runs/there"}, {"four": 0.3, "five": 0.1})
    for text, steps, dual_step, lr in (
        ("continuation=true", 500, 3.0, 0.5),
        ("continuation={steps: 301, dual_step: 0.3, lr: 1.0}", 305, 0.3, 1.0),
    ):
        search = plan(tmp_path, text, sweep=SWEEP)
        write(tmp_path, SWEEP, recipe)
        search = plan_with(tmp_path, recipe, text)
        own = search.trial_recipe({})
        assert (
            begun_recipe(own, search.sweep.continuation, None)
            is begun_recipe(own, search.sweep.continuation, TrialStart())
            is own
        )
        made = begun_recipe(own, search.sweep.continuation, begun)
        assert made.start is not None and (made.start.place, made.start.multipliers) == ("runs/there", {"four": 0.3, "five": 0.1})
        assert (made.train.steps, made.train.lr, made.train.lr_warmup) == (steps, lr * 2e-3, round(100 * steps / 1500))
        assert made.dual.step_size == pytest.approx(0.02 * dual_step) and made.dual.warmup == round(200 * steps / 1500)
        assert made.model_copy(update={"start": None, "train": own.train, "dual": own.dual}) == own


def relative(folder: Path) -> Plan:
    """A sweep over budgets of losses above the objective's, tracked in an MLflow store of its own."""
    uri, _ = new_store(folder, "another")
    recipe = RECIPE.replace("at_most: 0.12}", "at_most: 0.12, relative_to: objective}")
    return plan_with(folder, recipe, f"mlflow.tracking_uri={uri}")


def test_a_predicted_start_is_at_the_limit_of_relative_multipliers_but_for_rounding(tmp_path: Path) -> None:
    search = relative(tmp_path)
    recipe = search.trial_recipe({})
    problem = problem_of(recipe)
    for raw in ([0.749, 1.822], [1.2, 1.1], [0.95, 0.95 + 1e-12]):
        first = dict(zip(problem.names, problem.project(np.array(raw), recipe.dual.cap).tolist(), strict=True))
        made = begun_recipe(recipe, search.sweep.continuation, TrialStart.of("0003", {None: "runs/there"}, first))
        assert made.start is not None and made.start.multipliers == first and sum(first.values()) == pytest.approx(0.95)


def test_a_start_that_breaks_a_rule_fails_its_trial_and_no_other(tmp_path: Path) -> None:
    search, out = relative(tmp_path), tmp_path / "out"
    with Study(search, out) as study:
        for start in (TrialStart.of("0003", {None: "runs/there"}, {"four": 0.5, "five": 0.6}), TrialStart()):
            study.keep_start(study.ask().number, start)
    with conducted(search, out) as runner:
        following = runner.next()
        assert following is not None and following[0].name == "0001"
    [failed] = TrialRecord.load_all(out)
    assert (failed.number, failed.result.status) == (0, "failed")
    assert "must sum to at most 0.95 over constraints with relative_to" in failed.result.reason
    (out / "records" / "0000.json").unlink()
    with Study(search, out) as study:
        restore(search, study.ended(), str(out), out)
    assert [each.result.reason for each in TrialRecord.load_all(out)] == [failed.result.reason]


def plan_with(folder: Path, recipe: str, *overrides: str) -> Plan:
    from dualsweep.sweeps.planning.load import load_plan

    return load_plan(write(folder, SWEEP, recipe), overrides)


@pytest.mark.parametrize(("old", "new", "said"), [
    ("continuation: true", "continuation: {step: 300}", "sweep.yaml:7: continuation.step: must be a known key"),
    ("continuation: true", "continuation: {dual_step: 0}", "sweep.yaml:7: continuation.dual_step: must be greater than 0"),
    ("continuation: true", "continuation: {steps: 1500}", "must be fewer than a first trial's, but got 1500, where"),
    ("continuation: true", "continuation: yes please", "sweep.yaml:7: continuation"),
    ("  constraints.[*].at_most: {uniform: [0.08, 0.25]}", "  train.lr: {uniform: [0.001, 0.01]}",
     "sweep.yaml:7: continuation: must go with a search over a constraint's budget, but got only `train.lr`"),
    ("  constraints.[*].at_most: {uniform: [0.08, 0.25]}", "  constraints.four.at_most: {choice: [0.1]}",
     "sweep.yaml:7: continuation: must go with a search over a constraint's budget, but got only `constraints.four.at_most`"),
    ("continuation: true", "set: {dual.rule: fixed}\ncontinuation: true", "must come with multipliers that answer to their"),
    ("search:", "search:\n  train.steps: {int: [500, 900]}", None),
])  # fmt: skip
def test_what_is_refused(tmp_path: Path, old: str, new: str, said: str | None) -> None:
    sweep = SWEEP.replace(old, new)
    if said is None:
        plan(tmp_path, sweep=sweep)
        sweep, said = sweep.replace("true", "{steps: 100}"), "continuation.steps: must be left out where train.steps is searched"
    with pytest.raises(InputError) as caught:
        plan(tmp_path, sweep=sweep)
    assert said in str(caught.value), caught.value


def test_a_sweep_keeps_its_continuation(tmp_path: Path) -> None:
    for begun, refused, allowed in (
        ("continuation=true", ("continuation=false", "continuation={lr: 1.0}"), "continuation={lr: 0.5}"),
        ("continuation=false", ("continuation=true",), "continuation=null"),
    ):
        out = tmp_path / begun
        with Study(plan(tmp_path, begun, sweep=ONE), out):
            pass
        for other in refused:
            with pytest.raises(InputError, match="must stay as it was when this sweep began"):
                Study(plan(tmp_path, other, sweep=ONE), out)
        with Study(plan(tmp_path, allowed, sweep=ONE), out):
            pass


def test_where_it_is_shown(tmp_path: Path) -> None:
    search, out = plan(tmp_path, sweep=ONE), tmp_path / "out"
    lines = list(describe(checked_plan(search, str(out), None, None)))
    assert (
        "  continuation  from the nearest finished trial, with predicted multipliers: 500 of 1500 steps, dual.step_size x 3, "
        "train.lr x 0.5" in lines
    )
    records = [
        end(out, ProposedTrial(number, {"constraints.four.at_most": budget}, start))
        for number, (budget, start) in enumerate([(0.1, TrialStart()), (0.2, TrialStart.of("0000", {None: "x"}, {"four": 0.1}))])
    ]
    assert [each.start for each in TrialRecord.load_all(out)] == [each.start for each in records]
    assert [each.to_json()["continued_from"] for each in records] == [None, "0000"]
    record = sweep_record(search, records)
    front = find_front(record)
    write_trials(out / "trials.csv", record, front, Prices(), recommend(record, front))
    with (out / "trials.csv").open(newline="") as file:
        assert sorted(row["continued_from"] for row in csv.DictReader(file)) == ["", "0000"]
    text = front_text(record, front)
    assert " from" in text and text.count("0000") == 2  # as a trial, and as the one that the other continues
    assert json.loads((out / "records" / "0001.json").read_text())["start"]["multipliers"] == {"four": 0.1}
    cold = sweep_record(search, records[:1])
    assert "from" not in front_text(cold, find_front(cold))


def test_prices_do_not_fall_towards_tight_budgets(tmp_path: Path) -> None:
    """From one trial in the middle of a convex front the price is at least its own on the one side, at most on the other."""
    search, out = plan(tmp_path, sweep=ONE), tmp_path / "out"
    with Study(search, out) as study:
        end(out, ProposedTrial(0, {"constraints.four.at_most": 0.16}))
        conductor = Conductor(search)
        for _ in range(2):
            study.ask()
        tight, loose = (
            started(with_start(conductor, study, out, asked)).multipliers["four"]
            for asked in (ProposedTrial(at, {"constraints.four.at_most": budget}) for at, budget in enumerate((0.08, 0.25)))
        )
    own = 0.01 / 0.16**2
    assert own * (1 - 1e-9) <= tight and 0 <= loose <= own * (1 + 1e-9)


def test_a_price_is_shared_out_as_the_neighbours_is(tmp_path: Path) -> None:
    """Of a tied budget; a constraint with a fixed budget has the neighbour's multiplier."""
    search, out = plan(tmp_path, sweep=TIED), tmp_path / "out"
    with Study(search, out) as study:
        asked = study.ask()
        done = result(asked.params)
        only_five = {**done.constraints, "four": replace(done.constraints["four"], multiplier=0.0)}
        record = TrialRecord(0, asked.params, replace(done, constraints=only_five, checkpoint=str(out)))
        (out / MARKER).write_text("{}")
        record.save(out)
        begun = started(with_start(Conductor(search), study, out, study.ask()))
        assert begun.multipliers["four"] == 0.0 < begun.multipliers["five"]
    fixed, out = plan(tmp_path, sweep=ONE), tmp_path / "fixed"
    with Study(fixed, out) as study:
        asked = study.ask()
        done = result(asked.params)
        other = {**done.constraints, "five": ConstraintOutcome(0.12, 0.12, 0.0, 0.0, 0.77)}
        (out / MARKER).write_text("{}")
        TrialRecord(0, asked.params, replace(done, constraints=other, checkpoint=str(out))).save(out)
        assert started(with_start(Conductor(fixed), study, out, study.ask())).multipliers["five"] == 0.77
