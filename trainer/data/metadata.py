"""What the `metadata.jsonl` files of an image folder say of each image: the convention of Hugging Face's `imagefolder`.

Plain Python: the checks use it.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dualsweep.trainer.config.diagnostics import Diagnostic, Keys
from dualsweep.trainer.config.wording import first_line, nearest, show
from dualsweep.trainer.config.yaml_core import decoded
from dualsweep.trainer.data.faults import BadDataError

#: The file of an image folder, or of any folder in it, with a line of JSON for each image beside or below it.
METADATA = "metadata.jsonl"
_NAME = "file_name"


@dataclass(frozen=True)
class Asked:
    """What is looked for in the lines: the key of the recipe that asks, its rule, the fields of a line, and one as an example."""

    keys: Keys
    rule: str
    fields: tuple[str, ...]
    example: str

    def fault(self, received: str, remedy: str) -> BadDataError:
        return BadDataError(Diagnostic(self.keys, self.rule, received, remedy))


def of_files(folder: Path, files: Sequence[Path], asked: Asked) -> list[tuple[dict[str, Any], str]]:
    """The line of each of the images and where it stands; an empty one of an image that has none.

    Raises:
        BadDataError: there is no such file, a line is none, or lacks a field.
    """
    written: dict[str, tuple[dict[str, Any], str]] = {}
    around = {place for beside in {file.parent for file in files} for place in (beside, *beside.parents)}
    for metadata in sorted(place / METADATA for place in {folder, *around} if place.is_relative_to(folder)):
        if metadata.is_file():
            for name, line, where in _lines(metadata, asked):
                if name in written and any(written[name][0][field] != line[field] for field in asked.fields):
                    raise asked.fault(f"two lines for {line[_NAME]}, {written[name][1]} and {where}", "keep one of them")
                written[name] = line, where
    if not written:
        received = f"no {METADATA} with lines in {folder} or the folders of its images"
        raise asked.fault(received, f"write {METADATA}, lines such as {asked.example}")
    by_file = []
    for file in files:
        line, where = written.get(_composed(file), ({}, f"no line of {METADATA}"))
        by_file.append((line, f"file {file} ({where})"))
    return by_file


def _lines(metadata: Path, asked: Asked) -> Iterator[tuple[str, dict[str, Any], str]]:
    """The image, the fields and the place of each line."""
    try:
        content = decoded(metadata.read_bytes())
    except (OSError, ValueError) as error:
        raise asked.fault(f"{metadata}, which cannot be read ({first_line(error)})", "save it as UTF-8 text") from error
    for number, text in enumerate(content.split("\n"), start=1):  # a text may hold other ends of lines
        if not text.strip():
            continue
        where, line = f"{metadata}:{number}", _parsed(text)
        if line is None or not isinstance(line.get(_NAME), str):
            raise asked.fault(f"{show(text[:60])} in {where}", f"write {asked.example}")
        for field in asked.fields:
            if field not in line:
                raise asked.fault(f"no `{field}` in {where}", nearest(field, [each for each in line if each != _NAME]))
        yield _composed(metadata.parent / line[_NAME]), line, where


def _composed(file: Path) -> str:
    """A file's whole name, its accents composed: some file systems and archives decompose them."""
    return unicodedata.normalize("NFC", str(file.absolute()))


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        line = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return line if isinstance(line, dict) else None
