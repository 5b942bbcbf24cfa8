"""A text for every example. Reading a folder's is plain Python: the checks use it."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualsweep.trainer.config.diagnostics import Diagnostic, Keys
from dualsweep.trainer.config.wording import nearest, show
from dualsweep.trainer.data.faults import BadDataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: The file of an image folder, or of any folder in it, with a line of JSON for each image beside or below it: the convention of
#: Hugging Face's `imagefolder`.
METADATA = "metadata.jsonl"
_NAME = "file_name"
KEYS: Keys = ("data", "captions")


@dataclass(frozen=True, eq=False)
class Captions:
    """The distinct `texts`, in the order in which they first come, and which of them each example has: `of` [N], -1 for none."""

    texts: tuple[str, ...]
    of: NDArray[np.int64]


def among(captions: Sequence[str]) -> Captions:
    """The captions [N] of all examples, as `Captions`."""
    import numpy as np

    places: dict[str, int] = {}
    of = [places.setdefault(text, len(places)) for text in captions]
    return Captions(tuple(places), np.array(of, dtype=np.int64))


def matching(texts: Sequence[str], patterns: Sequence[str]) -> list[bool]:
    """Whether each text fits one of the patterns, in which `*` stands for anything; upper and lower case are the same."""
    lowered = [pattern.casefold() for pattern in patterns]
    return [any(fnmatch.fnmatchcase(text.casefold(), pattern) for pattern in lowered) for text in texts]


def of_folder(folder: Path, files: Sequence[Path], field: str) -> list[str]:
    """The caption of each of the images, by the `field` of its line in a `metadata.jsonl`.

    Raises:
        BadDataError: there is no such file, a line is none, or an image has no caption or an empty one.
    """
    written: dict[Path, tuple[object, str]] = {}
    for metadata in sorted({place / METADATA for place in (folder, *(file.parent for file in files))}):
        if metadata.is_file():
            written |= {file: (value, where) for file, value, where in _lines(metadata, field)}
    if not written:
        received = f"no {METADATA} with lines in {folder} or the folders of its images"
        raise _fault(received, f'write {METADATA}, lines such as {{"{_NAME}": "a.png", "{field}": "a red apple"}}')
    captions = []
    for file in files:
        value, where = written.get(file.absolute(), (None, f"no line of {METADATA}"))
        captions.append(checked(value, f"file {file} ({where})"))
    return captions


def checked(caption: object, where: str) -> str:
    """A caption that is a text and says something; raises `BadDataError` for another."""
    if not isinstance(caption, str):
        received = "no caption" if caption is None else f"the caption {show(caption)}"
        raise _fault(f"{received} in {where}", "give it one, or leave it out of the data")
    if not caption.strip():
        raise _fault(f"an empty caption in {where}", "give it one, or leave it out of the data")
    return caption


def _lines(metadata: Path, field: str) -> Iterator[tuple[Path, object, str]]:
    """The image, the value of the field and the place of each line."""
    for number, line in enumerate(metadata.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        where, known = f"{metadata}:{number}", _parsed(line)
        if known is None or not isinstance(known.get(_NAME), str):
            raise _fault(f"{show(line[:60])} in {where}", f'write {{"{_NAME}": "a.png", "{field}": "a red apple"}}')
        if field not in known:
            raise _fault(f"no `{field}` in {where}", nearest(field, [each for each in known if each != _NAME]))
        yield (metadata.parent / known[_NAME]).absolute(), known[field], where


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        known = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return known if isinstance(known, dict) else None


def _fault(received: str, remedy: str) -> BadDataError:
    return BadDataError(Diagnostic(KEYS, "must hold a text for every example", received, remedy))
