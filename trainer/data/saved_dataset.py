"""What `save_to_disk` leaves in a directory, read from its small JSON files. Plain Python: the checks use it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dualsweep.trainer.config.diagnostics import Diagnostic
from dualsweep.trainer.config.wording import nearest, show
from dualsweep.trainer.data.class_names import as_declared
from dualsweep.trainer.data.faults import BadDataError
from dualsweep.trainer.data.paths import existing
from dualsweep.trainer.recipe.base import ClassName

_HUB_ID_PARTS = 2
#: The ends of names that are of files, not of hub ids.
_OF_FILES = (".arrow", ".csv", ".json", ".jsonl", ".parquet", ".tar", ".txt", ".zip", ".gz", ".zst", ".npz", ".h5")


@dataclass(frozen=True)
class Saved:
    """One saved data set: its directory, its columns, the class names of those that are `ClassLabel`, and those that hold single
    values with the kind of these (`string`, `int64`, `image`).
    """

    directory: Path
    columns: tuple[str, ...]
    class_names: dict[str, tuple[ClassName, ...]]
    kinds: dict[str, str]


def local(dataset: str) -> Path | None:
    """The directory that `data.dataset` names, or None for a hub id.

    Raises:
        BadDataError: it can only be a local path (`./x`, `/x`, `~/x`, or more parts than an id has), and there is none.
    """
    path = existing(dataset, ("data", "dataset"))
    if path.is_file():
        received = f"the file '{dataset}'"
        remedy = f"give its folder, `{path.parent if path.parent.parts else '.'}`"
        raise BadDataError(Diagnostic(("data", "dataset"), "must be a hub id or a folder", received, remedy))
    if path.exists():
        return path
    if dataset.startswith((".", "/", "~")) or dataset.count("/") >= _HUB_ID_PARTS or path.suffix in _OF_FILES:
        received = f"nothing at '{dataset}'" + ("" if path.is_absolute() else f" in {Path.cwd()}")
        raise BadDataError(
            Diagnostic(("data", "dataset"), "must be a hub id or a local path that exists", received, "fix the path")
        )
    return None


def is_saved(path: Path) -> bool:
    """Whether `save_to_disk` wrote this directory."""
    return (path / "dataset_dict.json").is_file() or (path / "state.json").is_file()


def split_directory(path: Path, split: str) -> Path:
    """The directory of one split of a saved data set.

    Raises:
        BadDataError: there is no such split, or a split is named where the data set has none.
    """
    keys = ("data", "split")
    if (path / "dataset_dict.json").is_file():
        splits = _read(path / "dataset_dict.json").get("splits", [])
        if split not in splits:
            raise BadDataError(Diagnostic(keys, f"must be a split of {path}", show(split), nearest(split, splits)))
        return path / split
    own = _read(path / "state.json").get("_split") or "train"
    if split not in ("train", own):
        raise BadDataError(Diagnostic(keys, f"must be left out, since {path} has no splits", show(split), "remove it"))
    return path


def describe(path: Path, split: str) -> Saved:
    """Columns and class names of one split of a directory for which `is_saved` holds.

    Raises:
        BadDataError: there is no such split.
    """
    directory = split_directory(path, split)
    features: dict[str, Any] = _read(directory / "dataset_info.json").get("features") or {}
    classes = {
        column: as_declared(feature["names"])
        for column, feature in features.items()
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and feature.get("names")
    }
    return Saved(directory, tuple(features), classes, dict(_kinds(features)))


def _kinds(features: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for column, feature in features.items():
        if isinstance(feature, dict) and feature.get("_type") in ("Value", "ClassLabel", "Image", "Audio", "Video"):
            yield column, str(feature.get("dtype")) if feature["_type"] == "Value" else str(feature["_type"]).lower()


def _read(file: Path) -> dict[str, Any]:
    """What `save_to_disk` wrote into one of its files."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        content = error
    if isinstance(content, dict):
        return content
    received = f"{file}, which is {'not there' if isinstance(content, FileNotFoundError) else 'damaged'}"
    raise BadDataError(
        Diagnostic(("data", "dataset"), "must be whole, as save_to_disk writes it", received, "save the data set again")
    )
