"""The command that was typed, for messages that name it: whole, with every option, quoted for the shell."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

_typed: list[str] = []
_STORE = "--tracking-uri"


def remember() -> None:
    """Keeps this process's own command line, as the entry point was called with it."""
    _typed[:] = sys.argv


def _written(arguments: Sequence[str]) -> str:
    program = "python -m dualsweep" if Path(_typed[0]).name == "__main__.py" else "dualsweep"
    return f"{program} {shlex.join(arguments)}"


def same_again() -> str:
    """How to go on: the same command, written out; from Python the same call."""
    return f"the same command again ({_written(_typed[1:])})" if _typed else "the same call again"


def sweep_in_place_of_train() -> str:
    """What was typed, as a sweep: its store stands in its file, over which `--set` lays the one that was given."""
    arguments = ["sweep", *_typed[2:]]
    for at, argument in enumerate(arguments):
        if argument == _STORE and at + 1 < len(arguments):
            arguments[at : at + 2] = ["--set", f"mlflow.tracking_uri={arguments[at + 1]}"]
        elif argument.startswith(f"{_STORE}="):
            arguments[at] = f"--set=mlflow.tracking_uri={argument.removeprefix(f'{_STORE}=')}"
    return _written(arguments)


def train_in_place_of_sweep() -> str:
    """What was typed, as one training: a sweep has no option that a training lacks."""
    return _written(["train", *_typed[2:]])
