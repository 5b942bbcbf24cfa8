"""YAML as users write it: loaded safely, every key with its line, every problem of a file reported at once.

A key written twice is an error, as is a template that was not filled in.
"""

from __future__ import annotations

import json
import os
import re
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from dualsweep.trainer.config.diagnostics import Diagnostic, InputError, Key, Keys, RulesError
from dualsweep.trainer.config.patterns import IN_WORDS
from dualsweep.trainer.config.union_errors import A_WORD, TRUE_OR_FALSE, merged
from dualsweep.trainer.config.wording import nearest, show
from dualsweep.trainer.config.yaml_core import decoded
from dualsweep.trainer.config.yaml_tree import parse_tree

#: Mistakes of a file that are told at once: nobody reads more, and each takes its time to word.
MOST_TOLD = 100
Model = TypeVar("Model", bound=BaseModel)


@dataclass
class Document:
    """A parsed file: plain data, and the line on which each key stands; `file` is but a word where it was made `in_python`."""

    file: str
    data: dict[Any, Any]
    lines: dict[Keys, int] = field(default_factory=dict)
    in_python: bool = field(default=False, kw_only=True)

    @property
    def source(self) -> str:
        """The file, "" where Python made it."""
        return "" if self.in_python else self.file

    def line(self, keys: Sequence[Key]) -> int:
        """The line of `keys`, or of the nearest enclosing key that is written in the file."""
        for length in range(len(keys), -1, -1):
            if tuple(keys[:length]) in self.lines:
                return self.lines[tuple(keys[:length])]
        return 1

    def diagnostic(self, keys: Sequence[Key], rule: str, received: str, remedy: str) -> Diagnostic:
        return self.locate(Diagnostic(tuple(keys), rule, received, remedy))

    def locate(self, diagnostic: Diagnostic) -> Diagnostic:
        """The diagnostic with this file and the line where its keys were written."""
        return replace(diagnostic, file=self.file, line=self.line(diagnostic.keys))


def load(path: str | Path) -> Document:
    """Reads a YAML file into a `Document`; `~` and `~user` are home folders, as a shell has them.

    Raises:
        InputError: the file is absent or unreadable, is no YAML, has a key twice, or holds no mapping.
    """
    if not isinstance(path, str | Path):  # as Python may give
        raise InputError([Diagnostic(("path",), "must be a path", show(path), "give a file's, as text", "Python", 1)])
    file = str(path)
    try:
        text = decoded(Path(os.path.expanduser(path)).read_bytes())  # noqa: PTH111  # leaves an unknown ~user be
    except FileNotFoundError:
        raise InputError([Diagnostic((), "must exist", "no such file", _files_beside(Path(path)), file, 1)]) from None
    except IsADirectoryError:
        raise InputError([Diagnostic((), "must be a file", "a folder", _files_beside(Path(path) / "x"), file, 1)]) from None
    except OSError as error:
        what = error.strerror or str(error)
        raise InputError([Diagnostic((), "must be readable", what, "give a file that you may read", file, 1)]) from None
    except ValueError as error:
        raise InputError([Diagnostic((), "must be text in UTF-8", str(error), "save it as UTF-8 text", file, 1)]) from None
    return parse(text, file)


def _files_beside(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f"create the folder {folder} or fix the path"
    return "in that folder: " + nearest(path.name, sorted(p.name for p in folder.glob("*.y*ml")))


def parse(text: str, file: str) -> Document:
    """`load` for text at hand; `file` is the name that errors quote."""
    tree = parse_tree(text, file)
    if tree is None or not isinstance(tree.data, dict):
        found = "an empty file" if tree is None else "a list" if isinstance(tree.data, list) else "a plain value"
        raise InputError([Diagnostic((), "must hold `key: value` pairs", found, "see `sweeps/` for examples", file, 1)])
    document = Document(file, tree.data, tree.lines)
    if tree.twice:
        raise InputError(
            [document.diagnostic(keys, "must stand once", "the key twice", "keep one of them") for keys in tree.twice]
        )
    return document


def validate(model: type[Model], document: Document) -> Model:
    """Checks a document against its schema.

    Raises:
        InputError: with one problem for each thing that is wrong.
    """
    try:
        return model.model_validate(document.data)
    except ValidationError as error:
        mistakes = merged(error.errors(include_url=False), document.data)
        problems = [each for one in mistakes[:MOST_TOLD] for each in _problems(model, document, one)]
        problems.sort(key=lambda problem: problem.line)
        if len(mistakes) > MOST_TOLD:
            problems.append(
                document.diagnostic((), "must be right", f"{len(mistakes) - MOST_TOLD} more mistakes", "fix these first")
            )
        raise InputError(problems) from None


def _problems(model: type[BaseModel], document: Document, error: Mapping[str, Any]) -> list[Diagnostic]:
    """One for an error of one key; one for each message of a rule over a section, which may tell several."""
    keys: Keys = tuple(error["loc"])
    if error["type"] != "value_error":
        return [_problem(model, document, error)]
    cause = error["ctx"]["error"]
    if isinstance(cause, RulesError):
        return [document.locate(replace(each, keys=_precise(document, keys, each.keys))) for each in cause.diagnostics]
    _, info = _owner(model, keys)
    return [document.diagnostic(keys, str(cause), show(error["input"]), _remedy(info))]


def _problem(model: type[BaseModel], document: Document, error: Mapping[str, Any]) -> Diagnostic:
    keys: Keys = tuple(error["loc"])
    kind, received = error["type"], show(error["input"])
    owner, info = _owner(model, keys)
    if kind == "extra_forbidden":
        valid = sorted(owner.model_fields) if owner else []
        return document.diagnostic(keys, "must be a known key", f"`{keys[-1]}`", nearest(keys[-1], valid))
    remedy = _remedy(info)
    if kind == "invalid_key":
        valid = sorted(owner.model_fields) if owner else []
        remedy = f"a decimal number has a point, as in 0.5; {nearest(keys[-1], valid)}"
        return document.diagnostic(keys, "must be a known key", f"`{keys[-1]}`", remedy)
    if kind == "missing":
        return document.diagnostic(keys, "is required", "nothing", remedy)
    if kind == "literal_error":
        valid = [word.strip().strip("'") for word in re.split(r", | or ", error["ctx"]["expected"])]
        return document.diagnostic(keys, "must be one of the known words", received, nearest(error["input"], valid))
    types = error["ctx"]["types"] if kind == "none_of_its_types" else []
    wants_word = kind == "string_type" or (A_WORD in types and TRUE_OR_FALSE not in types)
    if wants_word and (quoted := _in_quotes(error["input"])):
        remedy = f"put it in quotes: [{quoted}]" if keys and isinstance(keys[-1], int) else f"put it in quotes: {quoted}"
    return document.diagnostic(keys, _rule(error), received, remedy)


def _in_quotes(value: object) -> str:
    """A plain value, which YAML reads as something else than a word, as the word that it may have been meant to be."""
    if value is None or isinstance(value, bool | int | float):
        return f'"{json.dumps(value)}"'
    return ""


def _precise(document: Document, keys: Keys, named: Keys) -> Keys:
    """A rule over a whole section names the key that it is about, whose line is the useful one."""
    below = (*keys, *named)
    while len(below) > len(keys) and below not in document.lines and not _is_written(document.data, below):
        below = below[:-1]  # a key that is missing has no line, but what it is missing from has
    return below


def _is_written(data: Any, keys: Keys) -> bool:
    """Whether something stands at these keys, as in a section that was laid over the file as a whole."""
    try:
        for key in keys:
            data = data[key]
    except (KeyError, IndexError, TypeError):
        return False
    return True


def _rule(error: Mapping[str, Any]) -> str:
    kind, context = str(error["type"]), error.get("ctx", {})
    if kind in ("too_short", "string_too_short") and context["min_length"] == 1:
        return "must not be empty"
    if kind == "string_too_long":
        return f"must have at most {context['max_length']} characters"
    if kind == "string_pattern_mismatch" and context["pattern"] in IN_WORDS:
        return IN_WORDS[context["pattern"]]
    if kind in ("model_type", "dict_type"):
        return "must be a section, of `key: value` pairs"
    message = str(error["msg"])
    for old, new in (("Input should be", "must be"), ("Input should have", "must have"), ("Input should", "must")):
        message = message.replace(old, new)
    if str(error["type"]).startswith(("float", "int")) and isinstance(error["input"], str):
        message += (
            " (without `_`)" if re.fullmatch(r"[-+]?[\d_.]+", error["input"]) and "_" in error["input"] else " (without quotes)"
        )
    return message[0].lower() + message[1:]


def _owner(model: type[BaseModel], keys: Keys) -> tuple[type[BaseModel] | None, FieldInfo | None]:
    """The schema that owns the last key, and the field of that key, where there is one."""
    current: type[BaseModel] | None = model
    info: FieldInfo | None = None
    for position, key in enumerate(keys):
        if isinstance(key, int) or current is None:
            continue
        if key not in current.model_fields:
            return current, None
        info = current.model_fields[key]
        below = _inner_model(info.annotation)
        if position == len(keys) - 1:
            return current, info
        current = below
    return current, info


def _inner_model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if typing.get_origin(annotation) in (list, dict, tuple, typing.Union, types.UnionType, typing.Annotated):
        for argument in typing.get_args(annotation):
            if (found := _inner_model(argument)) is not None:
                return found
    return None


def _remedy(info: FieldInfo | None) -> str:
    if info is None or not info.description:
        return "see docs/recipe.md"
    first, rest = info.description[0], info.description[1:]
    text = f"write {first if rest[:1].isupper() else first.lower()}{rest}".rstrip(".")  # GPUs are no gPUs
    return f"{text}, e.g. {info.examples[0]}" if info.examples else text
