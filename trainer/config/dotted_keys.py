"""Dotted keys: `train.steps`, `constraints.four.at_most` (entries of a list that have names go by them), `data.keep.4`.

`*` stands for every entry below it at once; `[*]` for each of them apart (`expand`).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

from dualsweep.trainer.config.diagnostics import Key, Keys, UnplacedError, dotted
from dualsweep.trainer.config.wording import nearest, show

ALL, EACH = "*", "[*]"
#: Of a position in a list; Python itself reads no number of thousands.
_MOST_DIGITS = 18


class NoSuchPlaceError(UnplacedError):
    """A dotted key leads nowhere."""


def expand(key: str, data: Any) -> list[tuple[str, list[Keys]]]:
    """The names that `key` stands for in `data`, each with the places it sets.

    `constraints.[*].at_most` gives `constraints.NAME.at_most` for each constraint, one place each; a key with `*`
    keeps its name and has one place for each entry; any other key has its one place.

    Raises:
        NoSuchPlaceError: the key is empty, goes through a plain value, names no entry of a list, or has a wild-card
            with nothing to stand for.
    """
    by_name: dict[str, list[Keys]] = {}
    words = key.split(".")
    if not all(words):
        raise NoSuchPlaceError("must be words joined by dots", show(key), "write it as e.g. `train.steps`")
    for labels, keys in _places(data, words, ()):
        by_name.setdefault(".".join(labels), []).append(keys)
    return list(by_name.items())


def places(key: str, data: Any) -> list[Keys]:
    """All the places that `key` sets in `data`. Raises `NoSuchPlaceError` as `expand` does."""
    return [keys for _, below in expand(key, data) for keys in below]


def assign(data: dict[Any, Any], keys: Keys, value: Any) -> None:
    """Sets one place in `data`, making the sections on the way that are not there."""
    current: Any = data
    for key in keys[:-1]:
        if isinstance(current, dict) and current.get(key) is None:
            current[key] = {}
        current = current[key]
    current[keys[-1]] = copy.deepcopy(value)


def _places(data: Any, words: Sequence[str], above: Keys) -> Iterator[tuple[list[str], Keys]]:
    if not words:
        yield [], ()
        return
    for label, key, below in _step(data, words[0], above):
        for labels, keys in _places(below, words[1:], (*above, key)):
            yield [label, *labels], (key, *keys)


def _step(data: Any, word: str, above: Keys) -> list[tuple[str, Key, Any]]:
    """The entries of `data` that `word` means: how each is called, its key, and what stands there."""
    entries = _entries(data, word, above)
    if word in (ALL, EACH):
        if not entries:
            raise NoSuchPlaceError(
                f"must have something for `{word}` to stand for",
                f"no entries in `{dotted(above)}`",
                "write the key without a wild-card",
            )
        return [(name if word == EACH else ALL, key, below) for name, key, below in entries]
    named = [entry for entry in entries if entry[0] == word]
    if named:
        return named
    if not isinstance(data, list):
        return [(word, _new_key(data, word), None)]
    if word.isdecimal() and int(word[:_MOST_DIGITS]) < len(data):
        return [(word, int(word[:_MOST_DIGITS]), data[int(word[:_MOST_DIGITS])])]
    names = [name for name, _, _ in entries] or [str(at) for at in range(len(data))]
    raise NoSuchPlaceError(f"must name an entry of `{dotted(above)}`", f"`{word}`", nearest(word, names))


def _entries(data: Any, word: str, above: Keys) -> list[tuple[str, Key, Any]]:
    if data is None:
        return []
    if isinstance(data, dict):
        return [(str(key), key, below) for key, below in data.items()]
    if isinstance(data, list):
        return [(str(below["name"]), at, below) for at, below in enumerate(data) if isinstance(below, dict) and "name" in below]
    remedy = f"write the key as `{dotted(above)}`" if above else "give `key: value` pairs"
    raise NoSuchPlaceError(f"must lead through sections, and `{dotted(above)}` is none", f"`{word}` below {show(data)}", remedy)


def _new_key(data: Any, word: str) -> Key:
    """YAML reads a bare `5` as a number: a new entry beside numbered ones is numbered too."""
    numbered = isinstance(data, dict) and data and all(isinstance(key, int) for key in data)
    return int(word) if numbered and word.isdecimal() and len(word) < _MOST_DIGITS else word
