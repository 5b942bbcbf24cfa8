"""Messages that say how to go on name the command that was typed, whole, as a shell takes it."""

from __future__ import annotations

import errno
import re
import shlex
import sys
from pathlib import Path

import pytest
import typer

from dualsweep.sweeps import typed
from dualsweep.sweeps.options import interruptible
from tests.sweeps.here import dualsweep_here

TYPED = ["sweep", "my sweep.yaml", "--set", "train.steps={choice: [1, 2]}", "--output", "it's here", "--address", "auto"]


@pytest.fixture
def typing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(typed, "_typed", [])
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/dualsweep", *TYPED])


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device", "x")])
def test_an_interrupted_command_is_told_with_every_option(
    error: BaseException, typing: None, capsys: pytest.CaptureFixture[str]
) -> None:
    typed.remember()
    with pytest.raises(typer.Exit), interruptible():
        raise error
    told = re.search(r"the same command again \((.*)\)", capsys.readouterr().err)
    assert told is not None and shlex.split(told[1]) == ["dualsweep", *TYPED]


def test_from_python_it_is_the_same_call(typing: None) -> None:
    assert typed.same_again() == "the same call again"


def test_as_a_module_it_is_told_as_one(typing: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/somewhere/dualsweep/__main__.py", *TYPED])
    typed.remember()
    assert typed.same_again().startswith("the same command again (python -m dualsweep sweep ")


def refused(kind: str, *options: str, folder: Path) -> list[str]:
    """The command that is told where the file is of the other kind, as a shell takes it."""
    done = dualsweep_here(kind, "my file.yaml", *options, folder=folder)
    told = re.search(r"run `(.*)`", done.stderr)
    assert done.returncode == 2 and told is not None, done.stderr
    return shlex.split(told[1])


def test_a_file_of_the_other_kind_is_refused_with_what_was_typed_as_the_other_command(tmp_path: Path) -> None:
    file, options = tmp_path / "my file.yaml", ["--set", "train.steps={choice: [1, 2]}", "--output", "it's here"]
    file.write_text("name: r\nformulation: constrained_training\n")
    assert refused("sweep", *options, folder=tmp_path) == ["dualsweep", "train", file.name, *options]
    file.write_text("name: s\nrecipe: r.yaml\nsearch: {}\n")
    told = refused("train", *options, "--tracking-uri", "sqlite:///a b.db", "--strict", folder=tmp_path)
    assert told == ["dualsweep", "sweep", file.name, *options, "--set", "mlflow.tracking_uri=sqlite:///a b.db", "--strict"]
    told = refused("train", "--tracking-uri=http://h:5000", folder=tmp_path)
    assert told == ["dualsweep", "sweep", file.name, "--set=mlflow.tracking_uri=http://h:5000"]
