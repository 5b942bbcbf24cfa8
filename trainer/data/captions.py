"""A text for every example. Reading a folder's is plain Python: the checks use it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dualsweep.trainer.config.diagnostics import Diagnostic, Keys
from dualsweep.trainer.config.wording import show
from dualsweep.trainer.data.faults import BadDataError
from dualsweep.trainer.data.metadata import Asked, of_files

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

KEYS: Keys = ("data", "captions")
_RULE = "must hold a text for every example"


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
    """Whether each text fits one of the patterns, in which `*` stands for anything and all else for itself.

    In either case, and however letters with marks are put together.
    """
    parts = ([re.escape(part) for part in _folded(pattern).split("*")] for pattern in patterns)
    fits = re.compile("|".join(f"(?:{'.*'.join(each)})" for each in parts) or "(?!)", re.DOTALL)
    return [fits.fullmatch(_folded(text)) is not None for text in texts]


def _folded(text: str) -> str:
    """A text without its cases (Unicode's canonical caseless matching)."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", text).casefold())


def of_folder(folder: Path, files: Sequence[Path], field: str) -> list[str]:
    """The caption of each of the images, by the `field` of its line in a `metadata.jsonl`.

    Raises:
        BadDataError: there is no such file, a line is none, or an image has no caption or an empty one.
    """
    asked = Asked(KEYS, _RULE, (field,), f'{{"file_name": "a.png", "{field}": "a red apple"}}')
    return [checked(line.get(field), where) for line, where in of_files(folder, files, asked)]


def checked(caption: object, where: str) -> str:
    """A caption that is a text and says something; raises `BadDataError` for another."""
    if not isinstance(caption, str):
        received = "no caption" if caption is None else f"the caption {show(caption)}"
        raise _fault(f"{received} in {where}", "give it one, or leave it out of the data")
    if not caption.strip():
        raise _fault(f"an empty caption in {where}", "give it one, or leave it out of the data")
    return caption


def _fault(received: str, remedy: str) -> BadDataError:
    return BadDataError(Diagnostic(KEYS, _RULE, received, remedy))
