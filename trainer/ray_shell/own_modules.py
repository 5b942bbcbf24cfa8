"""The user's own modules that a process has imported: whether their files have changed since."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

from dualsweep.trainer.ray_shell.tracebacks import is_own


class _Seen(NamedTuple):
    changed: float
    size: int


class OwnModules:
    """What a worker that trains again and again knows of its imports, extension modules among them."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[str, _Seen]] = {}

    def note(self, since: float) -> None:
        """Takes in what was imported after `since` (epoch seconds); a file that changed since may be newer than its module."""
        for name, file in _own():
            if name not in self._seen:
                stamp = _stamp(file)
                self._seen[name] = file, stamp if stamp.changed <= since else _Seen(-1.0, -1)

    def edited(self) -> tuple[str, ...]:
        """The names of modules whose files are others than those that were imported, or are gone."""
        return tuple(sorted(name for name, (file, seen) in self._seen.items() if _stamp(file) != seen))


def _own() -> list[tuple[str, str]]:
    files = [(name, getattr(module, "__file__", None)) for name, module in list(sys.modules.items())]
    # A path that is not absolute is a library's word, such as the "_ops.py" of torch.ops.
    return [
        (name, file)
        for name, file in files
        if isinstance(file, str) and Path(file).is_absolute() and is_own(file) and not _is_of_a_library(name)
    ]


def _is_of_a_library(name: str) -> bool:
    """Whether a module's outermost package is an installed one: torch writes the code it compiles to a temporary folder."""
    file = getattr(sys.modules.get(name.partition(".")[0]), "__file__", None)
    return isinstance(file, str) and not is_own(file)


def _stamp(file: str) -> _Seen:
    try:
        stat = Path(file).stat()
    except OSError:
        return _Seen(0.0, 0)
    return _Seen(stat.st_mtime, stat.st_size)
