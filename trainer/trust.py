"""Whose checkpoints may name code: import paths lead to whatever module stands in the working directory.

A path is followed from what a user wrote. From the recipe in a checkpoint only where this user's own run wrote that checkpoint on
this machine, or where the user says so (`--trust`). Which checkpoints these are is kept by their checksums in the user's state
folder ($XDG_STATE_HOME, else ~/.local/state), so that no file inside a run can claim it. Light: imported while input is checked.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from dualsweep.trainer.config import yaml_core
from dualsweep.trainer.config.uris import state_folder
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.storage import MARKER, filesystem, inside, read_file

#: What an import path looks like wherever it stands in a stored recipe.
_IMPORT_PATH = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
_all_trusted = False


def trust_all(trusted: bool = True) -> None:
    """From now on this process follows the import paths of every checkpoint, or again of its user's own alone."""
    global _all_trusted  # what a user said on the command line holds for the process
    _all_trusted = trusted


def trusts_all() -> bool:
    """Whether `trust_all` was asked for; workers are told."""
    return _all_trusted


def remember(content: Mapping[str, bytes], place: str) -> None:
    """Notes a checkpoint that this run has just written, by the content of all its files; one that names no code needs no note.

    Where the state folder can't be written, nothing is noted: that checkpoint then needs `--trust`.
    """
    if _import_paths(content.get("recipe.yaml", b"")):
        with contextlib.suppress(OSError, RuntimeError):  # no home folder is a RuntimeError
            _folder().mkdir(mode=0o700, parents=True, exist_ok=True)
            (_folder() / _checksum(content)).write_text(f"{place}\n", encoding="utf-8")


def may_run(checkpoint: str) -> bool:
    """Whether the import paths in a checkpoint's recipe may be followed."""
    return _all_trusted or is_own(checkpoint)


def is_own(checkpoint: str) -> bool:
    """Whether a run of this user on this machine wrote the checkpoint as it is, and noted it."""
    try:
        return (_folder() / _checksum(_content(checkpoint))).is_file()
    except (OSError, RuntimeError, ValueError, TypeError, TrainingError):  # RecursionError is a RuntimeError
        return False


def check_may_run(checkpoint: str, path: str) -> None:
    """Refuses to follow an import path that a stranger's checkpoint names.

    Raises:
        TrainingError: no run of this user on this machine wrote the checkpoint, and it is not trusted.
    """
    if not may_run(checkpoint):
        raise TrainingError(
            "code must be named by your own files, by a run of yours on this machine, or by a checkpoint that you trust, but got "
            f"{path!r} in the recipe of {checkpoint}; look at that module in the working directory, then say --trust"
        )


def check_all_may_run(checkpoint: str) -> None:
    """`check_may_run` of whatever code the recipe of a checkpoint names.

    Raises:
        TrainingError: it names some, and no run of this user on this machine wrote it, and it is not trusted.
    """
    for path in _import_paths(read_file(checkpoint, "recipe.yaml") or b""):
        check_may_run(checkpoint, path)


def _folder() -> Path:
    return state_folder() / "checkpoints"


def _content(checkpoint: str) -> dict[str, bytes]:
    files, root = filesystem(checkpoint)
    names = json.loads(files.cat_file(inside(files, root, MARKER)))
    return {name: files.cat_file(inside(files, root, name)) for name in names}


def _checksum(content: Mapping[str, bytes]) -> str:
    """Of all files and their names, the marker's sizes aside, which follow."""
    whole = {name: hashlib.sha256(data).hexdigest() for name, data in content.items() if name != MARKER}
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()


def _import_paths(recipe: bytes) -> list[str]:
    """All that looks like one, wherever it stands; what is no recipe is taken for one that names code."""
    try:
        return [word for word in _words(yaml_core.read(recipe.decode())) if _IMPORT_PATH.fullmatch(word)]
    except (ValueError, yaml.YAMLError, RecursionError):
        return ["recipe.yaml"]


def _words(value: Any) -> Iterator[str]:
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _words(each)
    elif isinstance(value, str):
        yield value
