"""One training from the command's side and Python's: who works in its folder, what is said of its end, and what is left of it in
the process.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from typer.testing import CliRunner

import dualsweep as ds
from dualsweep.cluster.machine import local_machine
from dualsweep.sweeps import single
from dualsweep.sweeps.cli import app
from dualsweep.sweeps.studies.storage import locked
from dualsweep.trainer.ray_shell import launch
from dualsweep.trainer.result import failed
from tests.sweeps.here import dualsweep_here
from tests.sweeps.in_process import RECIPE
from tests.test_runs_of_0_1 import unpack

REASON = "the loss is of no number"


@pytest.fixture(autouse=True)
def failing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of Ray: a training that breaks off at once."""
    connected = SimpleNamespace(machine=local_machine(), logs=None)
    monkeypatch.setattr(single, "connect", lambda address, on_loss: contextlib.nullcontext(connected))
    monkeypatch.setattr(single, "check_nodes", lambda *asked: None)
    monkeypatch.setattr(launch, "train_checked", lambda recipe, output, take: failed(REASON))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def handlers() -> Iterator[list[signal.Handlers]]:
    """Those of SIGINT, SIGTERM and SIGHUP that a caller has set; the tests' own are there again afterwards."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, lambda number, frame: None) for number in numbers}
    yield [signal.getsignal(number) for number in numbers]  # type: ignore[misc]  # none is None
    for number, handler in before.items():
        signal.signal(number, handler)


def test_in_python_a_training_that_failed_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    run = ds.train(RECIPE)
    assert (run.status, run.reason) == ("failed", REASON)
    assert capsys.readouterr().out.count(REASON) == 1
    assert REASON in repr(run) and "\n" not in repr(run) and run._repr_html_().count(REASON) == 1


def test_the_command_says_once_why_a_training_failed(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    done = CliRunner().invoke(app, ["train", "recipe.yaml", "--no-dry-run"])
    assert done.exit_code == 1 and done.output.count(REASON) == 1 and f"dualsweep: failed: {REASON}" in done.stderr


def test_the_callers_handlers_of_signals_are_there_again(handlers: list[signal.Handlers]) -> None:
    ds.train(RECIPE)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == handlers


def test_two_trainings_in_one_folder_are_kept_apart(tmp_path: Path) -> None:
    """Of one that has ended: it needs no Ray."""
    folder = unpack(tmp_path)
    with locked(folder / "runs" / "tiny" / "train.lock", by="training"):
        refused = dualsweep_here("train", "recipe.yaml", folder=folder)
    assert refused.returncode == 2 and "has ended before" not in refused.stdout, refused
    assert "--output: must not be in use by another training, but got process" in refused.stderr
    done = dualsweep_here("train", "recipe.yaml", folder=folder)
    assert done.returncode == 0 and "has ended before" in done.stdout, done
