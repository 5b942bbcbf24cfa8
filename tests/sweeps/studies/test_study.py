"""The study keeps every trial over kills, tells Optuna of constraints, and never leaves a trial running."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from dualsweep.sweeps.planning.plan import Plan
from dualsweep.sweeps.records.trial_start import ProposedTrial
from dualsweep.sweeps.studies.kept import JOURNAL
from dualsweep.sweeps.studies.study import Study
from dualsweep.trainer.config.diagnostics import InputError
from tests.sweeps.files import SWEEP, plan

GOOD = {"four": 0.1, "five": 0.0}


def stored(output: Path) -> optuna.Study:
    """The study as any other tool of Optuna's opens it."""
    storage = JournalStorage(JournalFileBackend(str(output / JOURNAL)))
    return optuna.load_study(study_name="digits-minority", storage=storage)


def test_a_told_trial_has_its_values_and_constraints(tmp_path: Path) -> None:
    with Study(plan(tmp_path), tmp_path / "out") as study:
        asked = study.ask()
        assert study.tell(asked.number, [1.0, 2.0], {"four": 0.25, "five": -0.5}) == "complete"
        assert (study.states, study.finished, study.remaining) == ({0: "complete"}, 1, 11)
    trial = stored(tmp_path / "out").trials[0]
    assert trial.values == [1.0, 2.0]
    assert trial.constraints == {"four": -0.25, "five": 0.5} | {"0": -0.25, "1": 0.5}  # by name, and as the dashboard reads them
    assert trial.params == asked.params
    assert stored(tmp_path / "out").metric_names == ["objective", "value/max"]


def test_infeasible_trials_are_off_optunas_front(tmp_path: Path) -> None:
    with Study(plan(tmp_path), tmp_path / "out") as study:
        for slack in (-0.1, 0.0):
            study.tell(study.ask().number, [slack, slack], {"four": slack, "five": 1.0})
    assert [each.number for each in stored(tmp_path / "out").best_trials] == [1]


@pytest.mark.parametrize(
    ("values", "slacks", "failed"),
    [
        ([1.0, math.nan], GOOD, False),
        ([1.0, math.inf], GOOD, False),
        ([1.0], GOOD, False),
        (None, None, False),
        ([], GOOD, False),
        ([1.0, 1.0], None, False),
        ([1.0, 1.0], {"four": 0.1}, False),
        ([1.0, 1.0], {"four": 0.1, "five": math.nan}, False),
        ([1.0, 1.0], GOOD, True),
    ],
)
def test_a_trial_without_every_figure_has_failed(
    tmp_path: Path, values: Sequence[float] | None, slacks: dict[str, float] | None, failed: bool
) -> None:
    with Study(plan(tmp_path), tmp_path / "out") as study:
        assert study.tell(study.ask().number, values, slacks, failed) == "failed"
        assert study.unfinished() == [] and study.states == {0: "failed"}
        assert study.ask().number == 1


def test_a_second_answer_changes_nothing(tmp_path: Path) -> None:
    with Study(plan(tmp_path), tmp_path / "out") as study:
        number = study.ask().number
        study.tell(number, [1.0, 2.0], GOOD)
        assert study.tell(number, None, None, failed=True) == "complete"
    assert stored(tmp_path / "out").trials[0].values == [1.0, 2.0]


def test_unfinished_trials_come_back_as_they_were_and_finished_ones_do_not(tmp_path: Path) -> None:
    with Study(plan(tmp_path), tmp_path / "out") as study:
        asked = [study.ask() for _ in range(4)]
        study.tell(1, [1.0, 2.0], GOOD)
        study.tell(2, None, failed=True)
    with Study(plan(tmp_path), tmp_path / "out") as study:
        assert study.unfinished() == [asked[0], asked[3]]
        assert study.ask().number == 4
        assert study.remaining == 7


def test_a_sweep_may_be_made_longer(tmp_path: Path) -> None:
    with Study(plan(tmp_path, "trials=1"), tmp_path / "out") as study:
        study.ask()
        assert study.remaining == 0
    with Study(plan(tmp_path, "trials=3", "resources.workers=2", "checkpoint.every=100"), tmp_path / "out") as study:
        assert study.remaining == 2


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("train.steps=100", "--set:1: train.steps: {rule}, but got 100, where it was 1500; {remedy}"),
        ("seeds=2", "--set:1: seeds: {rule}, but got 2, where it was nothing; {remedy}"),
        ("sampler.seed=1", "--set:1: sampler.seed: {rule}, but got 1, where it was 0; {remedy}"),
        ("dual.every=5", "--set:1: dual.every: {rule}, but got 5, where it was nothing; {remedy}"),
        (
            "search.dual.step_size.uniform=[1, 2]",
            "--set:1: search.dual.step_size.uniform: {rule}, but got [1.0, 2.0], where it was nothing; {remedy}",
        ),
        (
            "objectives.value/four=maximize",
            "--set:1: objectives.value/four: {rule}, but got 'maximize', where it was nothing; {remedy}",
        ),
    ],
)
def test_another_sweep_is_not_continued(tmp_path: Path, override: str, line: str) -> None:
    Study(plan(tmp_path), tmp_path / "out").close()
    with pytest.raises(InputError) as caught:
        Study(plan(tmp_path, override), tmp_path / "out")
    rule, remedy = "must stay as it was when this sweep began", "put it back, or give another `--output`"
    assert str(caught.value.diagnostics[0]) == line.format(rule=rule, remedy=remedy)
    Study(plan(tmp_path), tmp_path / "out").close()


def test_two_processes_do_not_share_an_output(tmp_path: Path) -> None:
    with Study(plan(tmp_path), tmp_path / "out"), pytest.raises(InputError) as caught:
        Study(plan(tmp_path), tmp_path / "out")
    assert str(caught.value) == (
        f"{tmp_path}/out:1: output: must not be in use by another sweep, but got process {os.getpid()}; "
        "wait until it has ended, or give another `--output`"
    )


KILLED = """\
import sys
from pathlib import Path
from dualsweep.sweeps.planning.load import load_plan
from dualsweep.sweeps.studies.study import Study
study = Study(load_plan(sys.argv[1]), Path(sys.argv[2]))
for number in range(3):
    asked = study.ask()
    if number < 2:
        study.tell(asked.number, [asked.params["dual.step_size"], 1.0], {"four": 0.1, "five": 0.1})
print(asked.params, flush=True)
sys.stdin.read()
"""


def test_a_kill_between_ask_and_tell_loses_nothing(tmp_path: Path) -> None:
    search, output = plan(tmp_path), tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path / "sweep.yaml"), str(output)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stdin is not None
    told = process.stdout.readline().strip()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    process.stdin.close()
    # What a kill in the middle of a write leaves behind: half a line, and the journal's lock.
    with (output / JOURNAL).open("ab") as journal:
        journal.write(b'{"op_code":4,"worker_id":"')
    (output / f"{JOURNAL}.lock").symlink_to(output / JOURNAL)
    start = time.monotonic()
    with Study(search, output) as study:
        assert [(each.number, str(each.params)) for each in study.unfinished()] == [(2, told)]
        assert study.states == {0: "complete", 1: "complete", 2: "running"}
        study.tell(2, [1.0, 1.0], GOOD)
        following = study.ask()
    assert time.monotonic() - start < 10
    with Study(search, tmp_path / "straight") as study:
        for number in range(3):
            asked = study.ask()
            study.tell(number, [asked.params["dual.step_size"] if number < 2 else 1.0, 1.0], {"four": 0.1, "five": 0.1})
        assert study.ask() == following


def test_half_an_answer_is_completed(tmp_path: Path) -> None:
    """A kill after the constraints and before the values leaves a running trial that has them."""
    with Study(plan(tmp_path), tmp_path / "out") as study:
        study.ask()
    half = stored(tmp_path / "out")
    optuna.trial.Trial(half, half.trials[0]._trial_id).set_constraint("four", -0.1)
    with Study(plan(tmp_path), tmp_path / "out") as study:
        assert study.tell(0, [1.0, 2.0], GOOD) == "complete"
    constraints = stored(tmp_path / "out").trials[0].constraints
    assert {name: constraints[name] for name in ("four", "five")} == {"four": -0.1, "five": 0.0}


def test_without_constraints_values_are_enough(tmp_path: Path) -> None:
    recipe = "name: r\nformulation: constrained_training\nmodel: {load: m}\ndata: {source: digits}\ntrain: {steps: 10}\n"
    plan(tmp_path)
    (tmp_path / "recipe.yaml").write_text(recipe)
    (tmp_path / "sweep.yaml").write_text(SWEEP.replace("  constraints.[*].at_most: {uniform: [0.08, 0.25]}\n", ""))
    from dualsweep.sweeps.planning.load import load_plan

    with Study(load_plan(tmp_path / "sweep.yaml"), tmp_path / "out") as study:
        assert study.tell(study.ask().number, [1.0]) == "complete"


def test_asking_stays_quick_with_many_trials(tmp_path: Path) -> None:
    search, output = plan(tmp_path, "trials=600"), tmp_path / "out"
    with Study(search, output) as study:
        study.tell(study.ask().number, [1.0, 2.0], GOOD)
    stored(output).add_trials(stored(output).trials * 500)
    with Study(search, output) as study:
        start = time.monotonic()
        assert study.ask().number == 501
        assert time.monotonic() - start < 3  # 0.3 s on an idle machine


def interrupted(search: Plan, output: Path) -> ProposedTrial:
    """A sweep that was ended in its first trial: it has a spool, and a checkpoint from which it would go on."""
    with Study(search, output) as study:
        trial = study.ask()
    (output / "spool").mkdir()
    (output / "spool/0000.jsonl").write_text(json.dumps({"tags": {"dualsweep.params": json.dumps(dict(trial.params))}}) + "\n")
    (output / "trials/0000/checkpoints").mkdir(parents=True)
    return trial


CHANGED = "search.dual.step_size.log_uniform=[0.01, 0.2]"
ANOTHER = "search.dual.step_size.log_uniform: must stay as it was when this sweep began"


@pytest.mark.parametrize("name", [[], ["name=other"]], ids=["", "renamed"])
@pytest.mark.parametrize("lost", ["", "gone", "emptied"])
def test_what_a_trial_left_is_gone_on_with_by_its_own_sweep_alone(tmp_path: Path, lost: str, name: list[str]) -> None:
    """Also where the study is lost, and where the sweep has another name since."""
    trial = interrupted(plan(tmp_path), tmp_path / "out")
    if lost == "gone":
        (tmp_path / "out/study.journal").unlink()
    elif lost:
        (tmp_path / "out/study.journal").write_text("")
    with pytest.raises(InputError, match=re.escape(ANOTHER)):
        Study(plan(tmp_path, CHANGED, *name), tmp_path / "out")
    with Study(plan(tmp_path, *name), tmp_path / "out") as study:
        assert study.unfinished() == [trial] and (tmp_path / "out/trials/0000").exists()


def test_what_nothing_tells_of_is_no_trial_of_this_sweep(tmp_path: Path) -> None:
    search = plan(tmp_path)
    interrupted(search, tmp_path / "out")
    for name in ("study.journal", "spool/0000.jsonl"):
        (tmp_path / "out" / name).write_text("")
    with Study(search, tmp_path / "out") as study:
        assert not study.unfinished() and not (tmp_path / "out/trials/0000").exists()
    (tmp_path / "out/trials/0000").mkdir()
    for name in ("study.journal", "plan.json"):
        (tmp_path / "out" / name).unlink()
    with pytest.raises(InputError, match="must hold the study that this sweep began, but got none with the 1 trials of"):
        Study(search, tmp_path / "out")


def test_another_order_of_objectives_is_told_as_that(tmp_path: Path) -> None:
    first, second = (
        f"objectives={{{each}}}"
        for each in ("objective: minimize, value/max: minimize", "value/max: minimize, objective: minimize")
    )
    Study(plan(tmp_path, first), tmp_path / "out").close()
    with pytest.raises(
        InputError, match=re.escape("but got ['value/max', 'objective'], where it was ['objective', 'value/max']")
    ):
        Study(plan(tmp_path, second), tmp_path / "out")
