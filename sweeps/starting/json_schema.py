"""JSON Schemas (draft 2020-12) of a recipe and a sweep, by which editors complete and check YAML.

They are made from the types that `dualsweep check` reads with. What they leave to it is in docs/editors.md: rules across keys,
and what only a recipe's own names can tell.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic.json_schema import models_json_schema

from dualsweep.sweeps.planning.kinds import Choice, Integers, LogUniform, Uniform
from dualsweep.sweeps.planning.schema import Sweep
from dualsweep.sweeps.planning.search import NOT_SEARCHED
from dualsweep.sweeps.starting.kinds import Kind
from dualsweep.trainer.recipe.recipe import Recipe

Schema = dict[str, Any]
DIALECT = "https://json-schema.org/draft/2020-12/schema"
#: No number beyond it is finite; a NaN is not below it either, as comparisons with it are false.
_LARGEST = 1.7976931348623157e308
_FINITE: Schema = {
    "description": "a finite number, not inf or nan",
    "not": {"anyOf": [{"minimum": _LARGEST}, {"maximum": -_LARGEST}]},
}
_DEFS = "#/$defs/"


def json_schema(kind: Kind) -> Schema:
    """The schema of that kind of file, whole: it refers to nothing outside itself."""
    made, shared = models_json_schema([(Recipe, "validation"), (Sweep, "validation")])
    defs: dict[str, Schema] = {name: _strict(each) for name, each in shared["$defs"].items()}
    own = defs.pop(made[Recipe if kind == "recipe" else Sweep, "validation"]["$ref"].removeprefix(_DEFS))
    if kind == "sweep":
        defs = {name: {key: below for key, below in each.items() if key != "required"} for name, each in defs.items()}
        _complete(own, defs)
    defs["Finite"] = _FINITE
    used = _needed(own, defs)
    title = f"dualsweep {kind}"
    return {"$schema": DIALECT, **own, "title": title, "$defs": {name: each for name, each in defs.items() if name in used}}


def _strict(node: Any) -> Any:
    """A schema as pydantic checks it: numbers are finite, and a mapping whose keys follow a pattern has no others."""
    if isinstance(node, list):
        return [_strict(each) for each in node]
    if not isinstance(node, dict):
        return node
    strict = {key: _strict(below) for key, below in node.items() if not (key == "title" and isinstance(below, str))}
    if strict.get("type") == "number":
        strict["$ref"] = f"{_DEFS}Finite"
    if "patternProperties" in strict:
        strict.setdefault("additionalProperties", False)
    return strict


def _complete(sweep: Schema, defs: dict[str, Schema]) -> None:
    """What a sweep says of its recipe's keys, which its own types leave open; `defs` gets what is referred to.

    A key of the recipe that is required may come from `set`, so that nothing within a sweep is required of it.
    """
    values = dict(_dotted(defs["Recipe"], defs))
    searched = {key: each for key, each in values.items() if key.partition(r"\.")[0] not in NOT_SEARCHED}
    words = {each.word: _array(each.word) for each in (Uniform, LogUniform, Integers)} | {
        Choice.word: {"type": "array", "minItems": 1, "description": "one of these values"}
    }
    one_word = {"minProperties": 1, "maxProperties": 1, "additionalProperties": False}
    defs["Search"] = {"description": "how one key is varied", "type": "object", "properties": words, **one_word}
    defs["Values"] = {"type": "object", **_by_key(values)}
    ways = {key: {"$ref": f"{_DEFS}Search", "additionalProperties": {"items": each}} for key, each in searched.items()}
    properties = sweep["properties"]
    properties["search"] |= _by_key(ways)
    properties["set"] |= {"$ref": f"{_DEFS}Values"}
    properties["points"]["items"] = {"$ref": f"{_DEFS}Values"}
    properties["recipe"]["anyOf"] = [{"type": "string"}, {"$ref": f"{_DEFS}Recipe"}]
    del properties["set"]["additionalProperties"]


def _array(word: str) -> Schema:
    items: Schema = {"type": "integer"} if word == Integers.word else {"type": "number", "$ref": f"{_DEFS}Finite"}
    if word == LogUniform.word:
        items["exclusiveMinimum"] = 0
    return {"type": "array", "items": items, "minItems": 2, "maxItems": 2, "description": "[low, high]"}


def _by_key(schemas: Mapping[str, Schema]) -> Schema:
    """Keys written out where they can be, which editors complete; the others, below names, by their patterns."""
    plain = {pattern: pattern.replace(r"\.", ".") for pattern in schemas if re.fullmatch(r"(\w|\\\.)+", pattern)}
    return {
        "properties": {key: schemas[pattern] for pattern, key in plain.items()},
        "patternProperties": {f"^{pattern}$": each for pattern, each in schemas.items() if pattern not in plain},
        "additionalProperties": False,
    }


def _dotted(node: Schema, defs: Mapping[str, Schema], prefix: str = "") -> Iterator[tuple[str, Schema]]:
    """The dotted keys below a schema, as patterns, each with the schema of its value."""
    below: dict[str, list[Schema]] = {}
    for branch in _branches(node, defs):
        for key, schema in branch.get("properties", {}).items():
            below.setdefault(re.escape(key), []).append(schema)
        for schema in (*branch.get("patternProperties", {}).values(), branch.get("additionalProperties"), branch.get("items")):
            if isinstance(schema, dict):  # of names, `*` and `[*]`
                below.setdefault(r"[^.]+", []).append(schema)
    for word, schemas in below.items():
        value = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
        yield f"{prefix}{word}", value
        yield from _dotted(value, defs, f"{prefix}{word}\\.")


def _branches(node: Schema, defs: Mapping[str, Schema]) -> Iterator[Schema]:
    """A schema without references and choices: each of what its value may be."""
    if str(node.get("$ref", "")).startswith(_DEFS) and (name := node["$ref"].removeprefix(_DEFS)) in defs:
        yield from _branches(defs[name], defs)
    for each in node.get("anyOf", ()):
        yield from _branches(each, defs)
    yield node


def _needed(node: Any, defs: Mapping[str, Schema]) -> set[str]:
    """The names of the definitions that a schema refers to, and those that these do."""
    wanted, open_ = set[str](), [node]
    while open_:
        at = open_.pop()
        if isinstance(at, list):
            open_ += at
        elif isinstance(at, dict):
            open_ += at.values()
            name = str(at.get("$ref", "")).removeprefix(_DEFS)
            if name in defs and name not in wanted:
                wanted.add(name)
                open_.append(defs[name])
    return wanted
