"""Messages that say how to go on name the command that was typed, whole, as a shell takes it."""

from __future__ import annotations

import errno
import re
import shlex
import sys

import pytest
import typer

from dualsweep.sweeps import typed
from dualsweep.sweeps.options import interruptible

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
