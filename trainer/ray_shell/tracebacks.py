"""What went wrong in another process, from the traceback's text: the error with its type, and the line of the user's own code."""

from __future__ import annotations

import re
import sysconfig
from itertools import takewhile
from pathlib import Path

import dualsweep

_FRAME = re.compile(r'  File "(?P<file>[^"]+)", line (?P<line>\d+), in (?P<name>.+)')
TRACEBACK = "Traceback (most recent call last)"
_BETWEEN = (TRACEBACK, "During handling of the above", "The above exception was")
_ROOMS = ("trainer", "sweeps", "analysis", "cluster")
#: The folders whose frames are nobody's own code: Python's, installed packages', and this program's.
_FOLDERS = {
    *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
    Path(dualsweep.__file__).parent,
    *(Path(__file__).parents[2] / room for room in _ROOMS),
}
_OTHERS = tuple(f"{folder}/" for folder in _FOLDERS)
#: What such packages lie in where they are of another Python, on another machine.
_PACKAGES = ("/site-packages/", "/dist-packages/")
_LONGEST = 400


def error_in(text: str) -> str:
    """The error at the end of a traceback, `Type: message` with its notes on one line; without a traceback the last line."""
    lines = text.rstrip().splitlines()
    starts = [at for at, line in enumerate(lines) if _is_message(line) and at and lines[at - 1].startswith("  ")]
    if not starts:
        whole = [lines[-1].strip()] if lines else []
    else:
        whole = [line.strip() for line in takewhile(lambda line: not line.startswith(_BETWEEN), lines[starts[-1] :])]
    told = " ".join(filter(None, whole))
    return told if len(told) <= _LONGEST else told[: _LONGEST - 3] + "..."


def own_line(text: str) -> str:
    """`file:line in function` of the last frame that is the user's own code; empty where there is none."""
    frames = [found for line in text.splitlines() if (found := _FRAME.match(line))]
    own = [each for each in frames if is_own(each["file"])]
    return f"{own[-1]['file']}:{own[-1]['line']} in {own[-1]['name']}" if own else ""


def is_own(file: str) -> bool:
    """Whether a source file is the user's own: none of Python's, of an installed package's or of this program's."""
    return not file.startswith((*_OTHERS, "<")) and not any(folder in file for folder in _PACKAGES)


def _is_message(line: str) -> bool:
    return line[:1].isidentifier() and not line.startswith(_BETWEEN)
