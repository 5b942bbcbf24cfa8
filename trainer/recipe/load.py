"""Reading a recipe with overrides: `--set key=value` on the command line, or a sweep's fixed values.

An override's mistakes are told where the override was written, those of the rest where they stand in the file.
"""

from __future__ import annotations

import copy
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dualsweep.trainer.config.diagnostics import Diagnostic, InputError, Key, Keys
from dualsweep.trainer.config.dotted_keys import NoSuchPlaceError, assign, places
from dualsweep.trainer.config.python_values import as_yaml
from dualsweep.trainer.config.wording import show
from dualsweep.trainer.config.yaml_file import Document, load, parse, validate
from dualsweep.trainer.config.yaml_tree import FIX_SYNTAX
from dualsweep.trainer.feasibility.defaults import without_tolerance
from dualsweep.trainer.recipe.recipe import Recipe

COMMAND_LINE = "--set"


@dataclass(frozen=True)
class Override:
    """One value to set, and where it was written: `file` is `--set` and `line` its position for the command line."""

    key: str
    value: Any
    file: str
    line: int

    def diagnostic(self, rule: str, received: str, remedy: str) -> Diagnostic:
        return Diagnostic((self.key,), rule, received, remedy, self.file, self.line)


@dataclass
class OverlaidDocument(Document):
    """A document with values laid over it that were written elsewhere, or that is itself a part of another (`prefix`)."""

    prefix: Keys = ()
    origins: dict[Keys, Override] = field(default_factory=dict)

    @classmethod
    def of(cls, document: Document) -> OverlaidDocument:
        return cls(document.file, copy.deepcopy(document.data), dict(document.lines))

    def part(self, key: Key) -> OverlaidDocument:
        """The mapping below `key` as a document of its own, whose problems still name this file and the whole key."""
        lines = {keys[1:]: line for keys, line in self.lines.items() if keys[:1] == (key,)}
        origins = {keys[1:]: each for keys, each in self.origins.items() if keys[:1] == (key,)}
        return OverlaidDocument(self.file, copy.deepcopy(self.data[key]), lines, (*self.prefix, key), origins)

    def locate(self, diagnostic: Diagnostic) -> Diagnostic:
        """The diagnostic with the file and line of its value: of what was laid over it, where something was."""
        keys = diagnostic.keys
        for length in range(len(keys), -1, -1):
            if (origin := self.origins.get(keys[:length])) is not None:
                return replace(diagnostic, keys=(origin.key, *keys[length:]), file=origin.file, line=origin.line)
        below = [each for at, each in self.origins.items() if at[: len(keys)] == keys]
        if keys and keys not in self.lines and below:  # a section that only what was laid over it has
            return replace(diagnostic, keys=(below[0].key,), file=below[0].file, line=below[0].line)
        return replace(diagnostic, keys=(*self.prefix, *keys), file=self.file, line=self.line(keys))

    def lay(self, keys: Keys, override: Override) -> None:
        """Sets the place `keys` (as `dotted_keys.places` gives it) and remembers where the value comes from."""
        assign(self.data, keys, override.value)
        self.lines = {at: line for at, line in self.lines.items() if at[: len(keys)] != keys}
        self.lines[keys] = override.line
        self.origins = {at: each for at, each in self.origins.items() if at[: len(keys)] != keys}
        self.origins[keys] = override


def read_overrides(texts: Sequence[str]) -> tuple[list[Override], list[Diagnostic]]:
    """Reads `key=value` texts, the values as YAML; returns what could be read, and what is wrong with the rest."""
    overrides: list[Override] = []
    problems: list[Diagnostic] = []
    for line, text in enumerate(texts, start=1):
        key, equals, value = text.partition("=")
        key = key.strip()
        if not equals or not key:
            problems.append(
                Diagnostic(
                    (key or "key",), "must be `key=value`", show(text), "write e.g. `--set train.steps=100`", COMMAND_LINE, line
                )
            )
            continue
        try:
            document = parse(f"value: {value}", COMMAND_LINE)
            if list(document.data) != ["value"]:
                raise InputError([])
            overrides.append(Override(key, document.data["value"], COMMAND_LINE, line))
        except InputError as error:
            told = error.diagnostics[0] if error.diagnostics else None
            detail = f" (YAML finds {told.received})" if told else ""
            own = told is not None and told.remedy != FIX_SYNTAX  # which a value on the command line has none of
            remedy = f"{told.remedy}{detail}" if told and own else f"put it in quotes, e.g. `--set 'key=[1, 2]'`{detail}"
            problems.append(Diagnostic((key,), "must have a value in YAML", show(value), remedy, COMMAND_LINE, line))
    return overrides, problems


def lay_over(document: OverlaidDocument, overrides: Iterable[Override]) -> list[Diagnostic]:
    """Lays overrides over a recipe in order; returns what is wrong with those that lead nowhere."""
    problems: list[Diagnostic] = []
    for override in overrides:
        try:
            for keys in places(override.key, document.data):
                document.lay(keys, override)
        except NoSuchPlaceError as error:
            problems.append(error.diagnostic.at((override.key,), override.file, override.line))
    return problems


def is_sweep(document: Document) -> bool:
    """Whether a document is a sweep, and no recipe, by its keys; one with a formulation is a recipe, maybe with keys too many."""
    keys = document.data.keys()
    return "recipe" in keys or ("formulation" not in keys and bool({"search", "trials", "sampler"} & keys))


def validate_recipe(document: OverlaidDocument, problems: Sequence[Diagnostic] = ()) -> Recipe:
    """Checks a recipe's document.

    Raises:
        InputError: with `problems` and all that the schema finds.
    """
    diagnostics = list(problems)
    try:
        recipe = validate(Recipe, document)
    except InputError as error:
        diagnostics += error.diagnostics
    if diagnostics:
        raise InputError(diagnostics)
    return recipe


def overrides_given(overrides: Sequence[str] | Mapping[str, Any]) -> tuple[list[Override], list[Diagnostic]]:
    """Reads what Python lays over a file, a dict by dotted keys or texts `key=value`; and what is wrong with some of it.

    Raises:
        InputError: it is neither.
    """
    if isinstance(overrides, Mapping):
        return [
            Override(str(key), as_yaml(value, (str(key),)), "overrides", at)
            for at, (key, value) in enumerate(overrides.items(), 1)
        ], []
    if isinstance(overrides, str) or not isinstance(overrides, Sequence) or not all(isinstance(each, str) for each in overrides):
        rule, remedy = "must be a dict of dotted keys, or texts `key=value`", "give e.g. {'train.steps': 500}"
        raise InputError([Diagnostic(("overrides",), rule, show(overrides), remedy, "Python", 1)])
    return read_overrides(overrides)


def load_recipe(path: str | Path, overrides: Sequence[str] | Mapping[str, Any] = ()) -> tuple[Recipe, OverlaidDocument]:
    """Reads a recipe file, with `overrides` laid over it, a dict by dotted keys or texts `key=value`.

    Returns the recipe, and its document with the overrides in it (`data` is what was validated).

    Raises:
        InputError: the file cannot be read, or it or an override is wrong; with every problem found.
    """
    given, problems = overrides_given(overrides)
    try:
        document = OverlaidDocument.of(load(path))
    except InputError as error:
        raise InputError([*error.diagnostics, *problems]) from None
    return recipe_from(document, given, problems), document


def recipe_from(document: OverlaidDocument, overrides: Iterable[Override], problems: Sequence[Diagnostic] = ()) -> Recipe:
    """The recipe of a document, over which the overrides are laid.

    Raises:
        InputError: it or an override is wrong; with `problems` and every problem found.
    """
    if "formulation" not in document.data and is_sweep(document):
        remedy = f"run `dualsweep sweep {shlex.quote(document.file)}`" if document.source else "give it to `dualsweep.sweep`"
        raise InputError([Diagnostic((), "must be a recipe", "a sweep", remedy, document.file, 1)])
    recipe = validate_recipe(document, [*problems, *lay_over(document, overrides)])
    if untold := tolerance_problems(recipe, document, without_tolerance(recipe)):
        raise InputError(untold)
    return recipe


def tolerance_problems(recipe: Recipe, document: Document, names: Sequence[str]) -> list[Diagnostic]:
    """One for each of the constraints `names`, whose tolerance has no default, at its budget."""
    at = {each.name: (position, each) for position, each in enumerate(recipe.constraints)}
    return [
        document.diagnostic(
            ("constraints", at[name][0], at[name][1].kind),
            "must come with `feasibility.tolerance` where the budget is 0, of which no default can be taken",
            f"{at[name][1].budget:g}",
            f"write e.g. feasibility: {{tolerance: {{{name}: 0.001}}}}",
        )
        for name in names
    ]
