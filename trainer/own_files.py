"""Files that this tool itself wrote and reads again: garbage in one costs that file, never the run.

A disk that was full, a copy that was broken off, an editor or a power cut leave files that are empty, torn or of something else.
Such a file is named and set aside as `NAME.damaged`, beside where it lay, and whoever asked goes on as if it weren't there.
Light: imported while input is checked.
"""

from __future__ import annotations

import logging
import posixpath
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import yaml

from dualsweep.trainer.storage import filesystem, inside, is_local, read_file

DAMAGED = ".damaged"
#: What reading a file of ours may raise where it holds something else. A NUL in a name that it gives is a ValueError.
GARBAGE = (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError, OverflowError, yaml.YAMLError)
_log = logging.getLogger(__name__)
Content = TypeVar("Content")


def read_own(path: Path, parse: Callable[[bytes], Content]) -> Content | None:
    """What `parse` makes of a file of this machine; None where there is none, or one that is damaged, which is set aside.

    Raises:
        OSError: the disk can't be read.
    """
    return read_own_at(str(path.parent), path.name, parse)


def read_own_at(place: str, name: str, parse: Callable[[bytes], Content]) -> Content | None:
    """`read_own` of a file below a folder or URI.

    Raises:
        OSError: the place can't be read.
    """
    try:
        content = read_file(place, name)
        return None if content is None else parse(content)
    except GARBAGE as error:
        set_aside(place, name, f"{type(error).__name__}: {error}")
    except (IsADirectoryError, PermissionError) as error:
        if not is_local(place):  # there a permission is that of the whole place
            raise
        set_aside(place, name, str(error.strerror))
    return None


def set_aside(place: str, name: str, why: str) -> None:
    """Renames a file that is not as this tool writes it, and says so; where that can't be, it only says so."""
    system, root = filesystem(place)
    path = inside(system, root, name)
    kept = path + DAMAGED
    try:
        if system.exists(kept) and system.exists(path):  # not what another process has just set aside
            system.rm(kept, recursive=True)
        system.mv(path, kept, recursive=system.isdir(path))
        where = f"it is set aside as {posixpath.basename(kept)}"
    except OSError as error:
        where = f"it could not be set aside: {error.strerror or error}"
    _log.warning("%s is damaged (%s); %s, and what it held is made again where that can be", path, why[:200], where)
