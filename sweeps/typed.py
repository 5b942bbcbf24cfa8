"""The command that was typed, for messages that name it: whole, with every option, quoted for the shell."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

_typed: list[str] = []


def remember() -> None:
    """Keeps this process's own command line, as the entry point was called with it."""
    program = "python -m dualsweep" if Path(sys.argv[0]).name == "__main__.py" else "dualsweep"
    _typed[:] = [program, shlex.join(sys.argv[1:])]


def same_again() -> str:
    """How to go on: the same command, written out; from Python the same call."""
    return f"the same command again ({' '.join(_typed)})" if _typed else "the same call again"
