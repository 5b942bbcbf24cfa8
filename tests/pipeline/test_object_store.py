"""Whole commands on an object store, with real Ray: a sweep whose driver and machine are lost, and a training."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import yaml

from dualsweep.trainer.checkpoint import CheckpointFolder
from tests.object_store import SECRET, object_store
from tests.pipeline.conftest import RECIPE, SWEEP, assert_nothing_left, run, start, wait_for, working_directory

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.dear]


class Lost(NamedTuple):
    """A sweep on `place` whose first machine was lost with the driver; the second ended it from the URI alone."""

    folder: Path
    place: str
    refused: str
    ended: str
    before: dict[str, bytes]
    after: dict[str, bytes]


def records(folder: Path, machine: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / machine).glob("dualsweep/outputs/*/records/*.json")}


@pytest.fixture(scope="module")
def lost(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lost]:
    with (
        object_store(tmp_path_factory.mktemp("moto")) as store,
        working_directory(tmp_path_factory.mktemp("first")) as folder,
        working_directory(tmp_path_factory.mktemp("second")) as other,
    ):
        plain = {**SWEEP, "trials": 2, "concurrency": 1, "mlflow": {"tracking_uri": f"sqlite:///{folder}/mlflow.db"}}
        for each in (folder, other):
            (each / "sweep.yaml").write_text(yaml.safe_dump(plain))
            (each / "recipe.yaml").write_text(yaml.safe_dump({**RECIPE, "model": {"call": "parts:good"}}))
        place = f"{store.bucket()}/tiny"
        arguments = ["sweep", "sweep.yaml", "--output", place, "--json", "r.json"]
        (folder / "slow").touch()
        process = start(folder, *arguments, XDG_STATE_HOME=str(folder / "one"))
        wait_for(lambda: list((folder / "one").glob("dualsweep/outputs/*/.number")), process)
        refused = run(other, *arguments, code=2, XDG_STATE_HOME=str(folder / "two"))
        wait_for(lambda: records(folder, "one"), process)
        wait_for(CheckpointFolder(f"{place}/trials/0001/checkpoints").newest, process)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert_nothing_left(folder)
        before = records(folder, "one")
        shutil.rmtree(folder / "one")
        ended = run(other, *arguments, XDG_STATE_HOME=str(folder / "two"))
        yield Lost(other, place, refused, ended, before, records(folder, "two"))


def test_the_second_driver_is_refused_by_name_in_one_line(lost: Lost) -> None:
    *warnings, line = lost.refused.splitlines()
    assert all(each.startswith("warning: recipe.yaml:") for each in warnings), lost.refused
    assert f"--output: must have one driver at a time, but got {lost.place}, which process" in line


def test_another_machine_ends_the_sweep_from_the_uri_alone(lost: Lost) -> None:
    assert "continuing: 1 of 2 trials are done" in lost.ended
    assert lost.before and lost.before.items() <= lost.after.items() and len(lost.after) == 2
    results = json.loads((lost.folder / "r.json").read_text())
    assert len(results["trials"]) == 2 and not results["interrupted"]
    assert all(each["checkpoint"].startswith(f"{lost.place}/trials/") for each in results["trials"])
    assert SECRET not in lost.ended + (lost.folder / "r.json").read_text()


def test_what_people_ask_of_a_sweep_is_answered_from_its_uri(lost: Lost) -> None:
    reader = str(lost.folder / "reader")
    assert "hypervolume" in run(lost.folder, "front", lost.place, XDG_STATE_HOME=reader)
    assert (lost.folder / "runs" / "tiny" / "front.html").exists()
    run(lost.folder, "status", lost.place, "--json", "status.json", XDG_STATE_HOME=reader)
    trials = json.loads((lost.folder / "status.json").read_text())["trials"]
    assert [(each["trial"], each["step"]) for each in trials] == [("0000", 60), ("0001", 60)]
    run(lost.folder, "sample", f"{lost.place}/trials/0001", "--count", "3", "--trust", XDG_STATE_HOME=reader)
    assert np.load(lost.folder / "samples" / "samples.npy").shape[0] == 3
    assert "multiplier" in run(lost.folder, "explain", f"{lost.place}/trials/0001", XDG_STATE_HOME=reader)
    assert "MLflow" in run(lost.folder, "sync", lost.place, XDG_STATE_HOME=reader)


def test_a_training_behind_a_uri_ends_and_is_read_from_there(lost: Lost) -> None:
    place = lost.place.replace("/tiny", "/single")
    run(lost.folder, "train", "recipe.yaml", "--output", place, XDG_STATE_HOME=str(lost.folder / "trained"))
    again = run(lost.folder, "train", "recipe.yaml", "--output", place, XDG_STATE_HOME=str(lost.folder / "elsewhere"))
    assert "has ended before, after 60 steps" in again
    assert "four" in run(lost.folder, "explain", place, XDG_STATE_HOME=str(lost.folder / "reader"))
