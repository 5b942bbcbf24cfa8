"""`dualsweep sweep` that ends by Ctrl-C, then by `kill -9`, and goes on each time by the same command."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import optuna
import pytest
import yaml
from mlflow.entities import Run
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from dualsweep.trainer.checkpoint import CheckpointFolder
from tests.pipeline.conftest import RECIPE, SWEEP, assert_nothing_left, interrupt, run, start, wait_for, working_directory
from tests.pipeline.runs_in_mlflow import artifacts, assert_whole_curve, curves, runs_of

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def interruptible_sweep(folder: Path) -> list[str]:
    """Three trials, one at a time: two that train, then one whose model is of another shape. The command's arguments."""
    (folder / "recipe.yaml").write_text(yaml.safe_dump({**RECIPE, "model": {"call": "parts:good"}}))
    plain = {
        **SWEEP,
        "search": {"model.call": {"choice": ["parts:good", "parts:halves"]}, "dual.step_size": {"choice": [0.02, 0.05]}},
    }
    # Seed 10 shuffles the grid so that of its first three points only the last one fails.
    plain |= {"sampler": {"name": "grid", "seed": 10}, "trials": 3, "concurrency": 1}
    (folder / "sweep.yaml").write_text(yaml.safe_dump(plain))
    return ["sweep", "sweep.yaml", "--json", "r.json"]


def training_steps(folder: Path) -> list[int]:
    """Training steps that each worker process took, in the order of the processes."""
    return list(Counter((folder / "calls").read_text().split()).values())


class BrokenOff(NamedTuple):
    """A sweep that Ctrl-C ended, then `kill -9`, then nothing any more: what was said and there at each time."""

    folder: Path
    interrupted: str
    after_ctrl_c: tuple[Run, dict[str, Run]]
    curve: dict[str, list[int]]
    kept: int
    resumed_at: int
    steps_before: int
    ended: str


@pytest.fixture(scope="module")
def broken_off(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokenOff]:
    """Each time nothing runs any more within 20 s."""
    with working_directory(tmp_path_factory.mktemp("broken-off")) as folder:
        arguments, output = interruptible_sweep(folder), folder / "runs" / "tiny-sweep"
        checkpoints = CheckpointFolder(str(output / "trials" / "0001" / "checkpoints"))

        process = start(folder, *arguments)
        wait_for((output / "records" / "0000.json").exists, process)
        (folder / "slow").touch()
        wait_for(checkpoints.newest, process)
        said = interrupt(process)
        assert process.returncode == 130, said
        assert_nothing_left(folder)
        client, parent, children = runs_of(f"sqlite:///{folder}/mlflow.db")
        curve = curves(client, children["0000"])
        kept = Path(checkpoints.newest() or "").name

        process = start(folder, *arguments)
        wait_for(lambda: Path(checkpoints.newest() or "").name > kept, process)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert_nothing_left(folder)
        resumed_at = Path(checkpoints.newest() or "").name
        before = sum(training_steps(folder))

        (folder / "slow").unlink()
        ended = run(folder, *arguments, code=3)
        assert_nothing_left(folder)
        yield BrokenOff(folder, said, (parent, children), curve, step_of(kept), step_of(resumed_at), before, ended)


def step_of(checkpoint: str) -> int:
    return int(checkpoint.removeprefix("step-"))


def test_ctrl_c_leaves_what_was_done_and_says_how_to_continue(broken_off: BrokenOff) -> None:
    said, (parent, children) = broken_off.interrupted, broken_off.after_ctrl_c
    assert "to continue" in said and "the same command" in said, said
    assert sorted(children) == ["0000", "0001"] and parent.info.status == "KILLED"
    first, second = children["0000"], children["0001"]
    assert first.info.status == "FINISHED" and first.data.tags["dualsweep.status"] in ("converged", "out_of_steps")
    assert second.info.status == "KILLED" and second.data.tags["dualsweep.status"] == "interrupted"
    assert_whole_curve(broken_off.curve)
    assert 20 <= broken_off.kept < 60


def test_each_time_it_goes_on_from_its_checkpoint_and_trains_nothing_again(broken_off: BrokenOff) -> None:
    assert "continuing: 1 of 3 trials are done" in broken_off.ended and "trial 0000 starts" not in broken_off.ended
    first, second, third, *_ = training_steps(broken_off.folder)
    assert first + second == broken_off.steps_before and 60 + broken_off.kept <= first < 120
    assert broken_off.resumed_at - broken_off.kept <= second <= 60 - broken_off.kept, "Ctrl-C left a whole checkpoint"
    assert third == 60 - broken_off.resumed_at, "and so did the kill"


def test_one_failing_trial_says_why_and_nothing_is_left_open_anywhere(broken_off: BrokenOff) -> None:
    plain = json.loads((broken_off.folder / "r.json").read_text())
    good, resumed, failed = plain["trials"]
    assert [each["id"] for each in plain["trials"]] == ["0000", "0001", "0002"]
    assert failed["status"] == "failed" and "(2, 1, 8, 8)" in failed["reason"] and "(2, 1, 4, 4)" in failed["reason"]
    assert {good["status"], resumed["status"]} <= {"converged", "out_of_steps"} and resumed["steps"] == 60
    assert [each.state.name for each in journalled(broken_off.folder)] == ["COMPLETE", "COMPLETE", "FAIL"]


def test_the_three_trials_are_in_the_same_runs_as_before(broken_off: BrokenOff) -> None:
    client, parent, children = runs_of(f"sqlite:///{broken_off.folder}/mlflow.db")
    before = broken_off.after_ctrl_c[1]
    assert sorted(children) == ["0000", "0001", "0002"] and parent.info.status == "FINISHED"
    assert children["0000"].info == before["0000"].info, "the first trial's run was touched"
    assert children["0001"].info.run_id == before["0001"].info.run_id and children["0001"].info.status == "FINISHED"
    for name in ("0000", "0001"):
        assert_whole_curve(curves(client, children[name]))
    tags = children["0002"].data.tags
    assert children["0002"].info.status == "FAILED" and tags["dualsweep.status"] == "failed"
    assert tags["dualsweep.verdict.four"] == tags["dualsweep.verdict.five"] == "unknown"
    assert "(2, 1, 4, 4)" in tags["dualsweep.reason"] and "recipe.yaml" in artifacts(client, children["0002"])


def journalled(folder: Path) -> list[optuna.trial.FrozenTrial]:
    """The trials of the study that the sweep keeps by itself."""
    storage = JournalStorage(JournalFileBackend(str(folder / "runs" / "tiny-sweep" / "study.journal")))
    [study] = optuna.get_all_study_summaries(storage)
    return optuna.load_study(study_name=study.study_name, storage=storage).trials
