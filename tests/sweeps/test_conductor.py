"""What a sweep does next, on plain records: no file is read, no study opened, nothing of Ray or MLflow imported."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from dualsweep.sweeps.conductor import Conductor, Halt, Reported
from dualsweep.sweeps.early_stopping.early_stopper import Point, Stop
from dualsweep.sweeps.planning.plan import Plan
from dualsweep.sweeps.records.replicates import Replicates
from dualsweep.sweeps.records.trial_record import TrialRecord
from dualsweep.sweeps.records.trial_start import ProposedTrial, TrialStart
from dualsweep.sweeps.trials.runs import Ended, OpenTrial, Run, Seed
from dualsweep.trainer.config.diagnostics import InputError
from dualsweep.trainer.result import ConstraintOutcome, Result, failed
from tests.sweeps.files import SWEEP, plan

STOPPING = SWEEP + "early_stopping: {infeasible: true}\n"


def proposed(search: Plan, number: int, budget: float = 0.12) -> ProposedTrial:
    values = {each.name: budget if "at_most" in each.name else 0.01 for each in search.parameters}
    return ProposedTrial(number, values)


def ended(budget: float = 0.12, checkpoint: str | None = None) -> Result:
    """A training on the front f = 0.01 / b."""
    each = ConstraintOutcome(budget, budget, 0.0, 0.001, 0.01 / budget**2 / 2)
    both = {"four": each, "five": each}
    return Result("converged", "settled", 0.01 / budget, 0.001, both, "met", 1500, 2.0, checkpoint, {"objective": 0.01 / budget})


def hopeless(step: int) -> Point:
    """A point of a training whose slack stays at -0.3 while its multiplier rises."""
    wave = 0.01 * (-1) ** (step // 10)
    metrics = {"objective": 0.3 + wave, "value/max": 0.42 + wave}
    for name in ("four", "five"):
        metrics |= {f"value/{name}": 0.42 + wave, f"slack/{name}": -0.3 - wave, f"slack_error/{name}": 0.01}
        metrics |= {f"multiplier/{name}": step / 1000, f"budget/{name}": 0.12}
    return step, metrics


def points(until: int) -> list[Point]:
    return [hopeless(step) for step in range(10, until + 1, 10)]


def at_level(step: int, level: float) -> Point:
    """A point that keeps the budgets."""
    levels = {"objective": level, "value/max": level}
    for name in ("four", "five"):
        levels |= {f"value/{name}": level, f"slack/{name}": 0.1, f"slack_error/{name}": 0.01, f"multiplier/{name}": 0.0}
    return step, levels


def names(conductor: Conductor) -> list[str]:
    """The trainings that wait, as they are handed out."""
    handed_out = []
    while isinstance(following := conductor.next(), Run):
        handed_out.append(following.name)
    assert following is None
    return handed_out


def stops_at(conductor: Conductor, run: Run, reported: list[Point]) -> tuple[int, Stop] | None:
    for step, metrics in reported:
        if (stop := conductor.take(run, step, metrics)) is not None:
            return step, stop
    return None


def test_what_was_left_comes_before_what_is_new_and_trainings_in_the_order_of_their_seeds(tmp_path: Path) -> None:
    search = plan(tmp_path, "seeds=2")
    left = [proposed(search, 3), proposed(search, 5)]
    conductor = Conductor(search, left)
    assert conductor.next() is left[0]
    conductor.take_up(left[0], {0: ended()}, {})
    assert isinstance(run := conductor.next(), Run) and run.name == "0003-seed-1"
    assert conductor.next() is left[1]
    conductor.take_up(left[1], {}, {})
    assert names(conductor) == ["0005-seed-0", "0005-seed-1"]


def test_a_trial_is_over_when_all_of_its_trainings_have_ended(tmp_path: Path) -> None:
    search = plan(tmp_path, "seeds=2")
    conductor = Conductor(search)
    trial, halt = conductor.take_up(proposed(search, 0), {}, {})
    first, second = trial.waiting
    assert halt is None and conductor.end(second, failed("its worker died")).record is None
    assert conductor.is_running(first) and not conductor.is_running(second)
    record = conductor.end(first, ended()).record
    assert record is not None and record.replicates is not None and list(record.replicates.runs) == [1, 0]
    assert (record.result.status, record.result.objective) == ("converged", ended().objective)
    assert not conductor.is_running(first)


def test_a_trial_whose_trainings_had_all_ended_is_over_when_it_is_taken_up(tmp_path: Path) -> None:
    search = plan(tmp_path, "seeds=2")
    conductor = Conductor(search)
    trial, halt = conductor.take_up(proposed(search, 0), {0: ended(), 1: ended()}, {})
    assert halt is None and trial.record is not None and conductor.next() is None


def test_values_that_make_no_recipe_are_refused_and_open_nothing(tmp_path: Path) -> None:
    search = plan(tmp_path)
    conductor = Conductor(search)
    with pytest.raises(InputError):
        conductor.take_up(replace(proposed(search, 0), params={"train.steps": -1}), {}, {})
    assert conductor.next() is None


class Halted(NamedTuple):
    """Two trials of three trainings each; the second training of the first trial was stopped, and what became of the others."""

    conductor: Conductor
    trial: OpenTrial
    other: OpenTrial
    stop: Stop
    ends: list[Ended]


@pytest.fixture
def halted(tmp_path: Path) -> Halted:
    search = plan(tmp_path, "seeds=3", sweep=STOPPING)
    conductor = Conductor(search)
    trial, _ = conductor.take_up(proposed(search, 0), {}, {})
    other, _ = conductor.take_up(proposed(search, 1), {}, {})
    second = trial.waiting[1]
    stopped_at = stops_at(conductor, second, points(1500))
    assert stopped_at is not None and (stopped_at[0], stopped_at[1].rule) == (530, "infeasible")
    over, ends = conductor.stop(Halt(second, stopped_at[1], 53.0), {0: hopeless(100), 1: hopeless(530)})
    assert over is trial
    return Halted(conductor, trial, other, stopped_at[1], ends)


def test_one_training_that_stops_stops_its_trial_and_no_other(halted: Halted) -> None:
    conductor, trial, other, _, _ = halted
    assert trial.record is not None and trial.record.result.status == "stopped"
    assert not any(conductor.is_running(run) for run in trial.runs) and all(conductor.is_running(run) for run in other.runs)
    assert names(conductor) == ["0001-seed-0", "0001-seed-1", "0001-seed-2"]


def test_each_training_of_a_stopped_trial_says_which_was_stopped_and_why(halted: Halted) -> None:
    _, _, _, stop, ends = halted
    assert [run.seed for run, _ in ends] == [1, 0, 2], "the one that stopped first, the others by their seeds"
    assert [(result.steps, result.seconds) for _, result in ends] == [(530, 53.0), (100, 0.0), (0, 0.0)]
    assert {result.stopped_by for _, result in ends} == {"infeasible"} and ends[0][1].reason == stop.reason
    assert ends[1][1].reason == f"training 0000-seed-1 of this trial was stopped: {stop.reason}"


@pytest.mark.parametrize("rule", ["dominated: true", "halving: {reduction: 2, first: 0.25}"])
def test_trainings_of_one_trial_do_not_stop_each_other(tmp_path: Path, rule: str) -> None:
    """Four alike but for their levels, one after the other, the best first."""
    search = plan(tmp_path, "seeds=4", sweep=SWEEP + f"early_stopping: {{{rule}}}\n")
    conductor = Conductor(search)
    trial, _ = conductor.take_up(proposed(search, 0), {}, {})
    for run in trial.runs:
        worse = 0.1 * (run.seed or 0)
        reported: list[Point] = [
            (step, {name: value + worse * name.startswith(("objective", "value")) for name, value in metrics.items()})
            for step, metrics in points(1500)
        ]
        assert stops_at(conductor, run, reported) is None, run.name
        conductor.end(run, ended())


def test_after_a_kill_the_same_is_decided_on_what_was_reported(tmp_path: Path) -> None:
    search = plan(tmp_path, "seeds=2", sweep=STOPPING)
    live = Conductor(search)
    trial, _ = live.take_up(proposed(search, 0), {}, {})
    before = stops_at(live, trial.waiting[0], points(530))
    assert before is not None

    again = Conductor(search)
    trial, halt = again.take_up(proposed(search, 0), {}, {0: Reported(points(530), 52.0)})
    assert halt == Halt(trial.runs[0], before[1], 52.0) and again.next() is None, "nothing of it waits"
    _, fewer = Conductor(search).take_up(proposed(search, 0), {}, {0: Reported(points(520), 51.0)})
    assert fewer is None


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["in order", "the second before the first"])
def test_which_training_stands_for_its_trial_at_a_rung_is_the_same_after_a_kill(tmp_path: Path, order: tuple[int, int]) -> None:
    """The first training of trial 0 is worse than trial 1, its second one better."""
    search = plan(tmp_path, "seeds=2", sweep=SWEEP + "early_stopping: {halving: {reduction: 2, first: 0.25}}\n")
    live, over, left = (Conductor(search) for _ in range(3))
    trial, _ = live.take_up(proposed(search, 0), {}, {})
    reported = {seed: [at_level(step, (5.0, 1.0)[seed]) for step in range(10, 1501, 10)] for seed in (0, 1)}
    for seed in order:
        assert stops_at(live, trial.runs[seed], reported[seed][:40]) is None
    told: dict[Seed, Reported] = {seed: Reported(each) for seed, each in reported.items()}
    over.recall(TrialRecord(0, proposed(search, 0).params, ended(), Replicates({0: ended(), 1: ended()})), told)
    left.take_up(proposed(search, 0), {1: ended()}, told)
    for conductor in (live, over, left):
        other, _ = conductor.take_up(proposed(search, 1), {}, {})
        assert stops_at(conductor, other.runs[0], [at_level(step, 3.0) for step in range(10, 400, 10)]) is None
        last, _ = conductor.take_up(proposed(search, 2), {}, {})
        assert stops_at(conductor, last.runs[0], [at_level(step, 4.0) for step in range(10, 400, 10)]) is not None


def test_a_stop_that_was_written_of_one_training_is_carried_to_the_others(tmp_path: Path) -> None:
    """A kill came between the end of the first and that of the second."""
    search = plan(tmp_path, "seeds=2", sweep=STOPPING)
    conductor = Conductor(search)
    written = replace(ended(), status="stopped", reason="no hope", stopped_by="infeasible", steps=530, seconds=53.0)
    trial, halt = conductor.take_up(proposed(search, 0), {0: written}, {0: Reported(points(530), 52.0)})
    assert halt is not None and (halt.run.seed, halt.stop, halt.seconds) == (0, Stop("infeasible", "no hope"), 53.0)
    _, ends = conductor.stop(halt, {})
    assert [(run.seed, result.reason) for run, result in ends] == [(1, "training 0000-seed-0 of this trial was stopped: no hope")]
    assert trial.record is not None and trial.record.result.steps == 530


def test_what_is_not_to_be_stopped_is_never_looked_at(tmp_path: Path) -> None:
    search = plan(tmp_path)
    conductor = Conductor(search)
    trial, _ = conductor.take_up(proposed(search, 0), {}, {})
    assert not conductor.stops_early and stops_at(conductor, trial.waiting[0], points(1500)) is None


def test_a_trial_starts_from_the_nearest_ended_one_whose_checkpoint_is_there(tmp_path: Path) -> None:
    search = plan(tmp_path, sweep=SWEEP + "continuation: true\n")
    conductor, asked = Conductor(search), proposed(search, 9, 0.15)
    records = [
        TrialRecord(number, proposed(search, number, budget).params, ended(budget, f"run-{number}"))
        for number, budget in enumerate((0.1, 0.14, 0.2))
    ]
    assert conductor.wants_start(asked) and not conductor.wants_start(replace(asked, start=TrialStart()))
    assert conductor.start(asked, [], lambda place: True) == TrialStart()
    start = conductor.start(asked, records, lambda place: True)
    assert start.trial == "0001" and start.checkpoint(None) == "run-1"
    own = 0.01 / 0.15**2 / 2
    assert start.multipliers["four"] == pytest.approx(own, rel=0.1), "predicted at its own budget, not the neighbour's"
    assert conductor.start(asked, records, lambda place: place != "run-1").trial in ("0000", "0002")
    assert conductor.start(asked, records, lambda place: False) == TrialStart()
    assert not Conductor(plan(tmp_path)).wants_start(asked)


def test_ray_is_not_needed_to_decide_nor_torch_or_mlflow_until_trials_start() -> None:
    code = (
        "import sys, dualsweep.sweeps.conductor; print([name for name in ('ray', 'mlflow', 'torch') if name in sys.modules]);"
        "import dualsweep.sweeps.whole_sweep, dualsweep.sweeps.tune; from dualsweep.sweeps.reports.reviewing import get_ready;"
        "print([name for name in ('mlflow', 'torch', 'diffusers') if name in sys.modules]);"
        "get_ready(); print([name for name in ('mlflow', 'torch', 'diffusers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "[]", "['mlflow', 'torch', 'diffusers']"]
