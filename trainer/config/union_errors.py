"""Errors of a value that may be one of several types: pydantic tells one for each type, at a place with the type's name in it.

Here they become one error, where the value stands: that of the type which the value looks like, or of all of them together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Location = tuple[Any, ...]
A_WORD, TRUE_OR_FALSE = "a word", "true or false"
#: Types as pydantic names them, after "a valid", and as users do.
_TYPES = {"boolean": TRUE_OR_FALSE, "integer": "a whole number", "string": A_WORD, "list": "a list", "number": "a number"}


def merged(errors: Sequence[Mapping[str, Any]], data: Any) -> list[dict[str, Any]]:
    """The errors with places that are in `data`, one for each value; each has its `loc` there."""
    groups: dict[Location, list[dict[str, Any]]] = {}
    unbranched: list[dict[str, Any]] = []
    for error in errors:
        place, branched = _placed(tuple(error["loc"]), data, str(error["type"]))
        one = {**error, "loc": place}
        if branched is None:
            unbranched.append(one)
        elif branched in groups:
            groups[branched].append(one)
        else:
            groups[branched] = [one]
    return [*unbranched, *(each for place, group in groups.items() for each in _one_of(place, group))]


def _placed(loc: Location, data: Any, kind: str) -> tuple[Location, Location | None]:
    """The place of an error in the data, and where its value branches into types, if it does."""
    place: list[Any] = []
    branched: Location | None = None
    current = data
    for position, part in enumerate(loc):
        below = range(len(current)) if isinstance(current, list) else current if isinstance(current, dict) else ()
        if part in below:
            place.append(part)
            current = current[part]
        elif part == current:  # a word alone, which stands for a section of its name
            place.append(part)
            current = None
        elif kind == "missing" and position == len(loc) - 1:
            place.append(part)
        elif part != "[key]" and branched is None:
            branched = tuple(place)
    return tuple(place), branched


def _one_of(place: Location, group: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What is wrong below the branch where some type fits the value as far as that; else that none fits."""
    deeper = [error for error in group if error["loc"] != place or not _is_misfit(error)]
    if {error["type"] for error in deeper} == {"literal_error", "string_pattern_mismatch"}:  # a known word or an import path
        meant = "string_pattern_mismatch" if ":" in str(deeper[0]["input"]) else "literal_error"
        return [error for error in deeper if error["type"] == meant]
    if deeper or len(group) == 1:
        return deeper or list(group)
    rules = list(dict.fromkeys(_expected(str(error["msg"])) for error in group))
    told = {"type": "none_of_its_types", "msg": "Input should be " + " or ".join(rules), "ctx": {"types": rules}}
    return [{**group[0], **told}]


def _is_misfit(error: Mapping[str, Any]) -> bool:
    """Whether a value is not of a type at all: a mapping is no word, however that is told."""
    return str(error["type"]).endswith("_type") or (error["type"] == "literal_error" and isinstance(error["input"], dict))


def _expected(message: str) -> str:
    words = message.removeprefix("Input should be ").removeprefix("a valid ")
    return "a section" if words.startswith("dictionary") else _TYPES.get(words, words)
