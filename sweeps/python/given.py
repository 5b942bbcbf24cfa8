"""A recipe or a sweep as Python gives it: a file's path, a mapping, or one that was read, with values laid over it."""

from __future__ import annotations

import copy
import functools
import json
import operator
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from dualsweep.sweeps.planning.load import plan_from
from dualsweep.sweeps.planning.plan import Plan
from dualsweep.sweeps.report_listener import OnReport, nobody
from dualsweep.trainer.config.diagnostics import Diagnostic, InputError
from dualsweep.trainer.config.python_values import as_yaml
from dualsweep.trainer.config.uris import local_path
from dualsweep.trainer.config.wording import show
from dualsweep.trainer.config.yaml_file import load
from dualsweep.trainer.recipe.load import OverlaidDocument, Override, lay_over, recipe_from
from dualsweep.trainer.recipe.recipe import Recipe

Values = Mapping[str, Any]
P = ParamSpec("P")
R = TypeVar("R")
_COMMAND_LINE = "command line"


def told_in_python(call: Callable[P, R]) -> Callable[P, R]:
    """The call, with mistakes in a command's arguments told as of its own: `--output` of the command line is `output` here."""

    @functools.wraps(call)
    def told(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return call(*args, **kwargs)
        except InputError as error:
            if all(each.file != _COMMAND_LINE for each in error.diagnostics):
                raise
            raise InputError([_in_python(each) for each in error.diagnostics]) from error.__cause__

    return told


def _in_python(diagnostic: Diagnostic) -> Diagnostic:
    if diagnostic.file != _COMMAND_LINE:
        return diagnostic
    first, *rest = diagnostic.keys or ("file",)
    option = str(first)
    named = option.lstrip("-").replace("-", "_").lower() if option.startswith("--") or option.isupper() else first
    return replace(diagnostic, keys=(named, *rest), file="Python")


def recipe_given(recipe: str | Path | Values | Recipe, values: Values | None) -> tuple[Recipe, OverlaidDocument]:
    """The recipe, checked anew, and its document; `values` by dotted keys (`train.steps`) stand above its own.

    Raises:
        InputError: with every problem found.
    """
    if isinstance(recipe, Recipe):
        overrides = _overrides(values)
        # Also where nothing is laid over it: pydantic's `model_copy` checks nothing, and some rules are of documents.
        checked = recipe_from(_made(recipe.model_dump(mode="json"), "recipe"), overrides)
        # Whoever wrote it, values that are the defaults' are not told from those that nobody wrote.
        written = _made(recipe.model_dump(mode="json", exclude_defaults=True), "recipe")
        lay_over(written, overrides)
        return checked, written
    document = _document(recipe, "recipe")
    return recipe_from(document, _overrides(values)), document


def plan_given(sweep: str | Path | Values | Plan, values: Values | None) -> Plan:
    """The plan, checked anew; `values` by the sweep's own keys or the recipe's stand above its own.

    Raises:
        InputError: with every problem found.
    """
    if isinstance(sweep, Plan):
        if not values:
            return sweep
        return plan_from(copy.deepcopy(sweep.document), [*sweep.on_recipe, *_overrides(values)], [])
    return plan_from(_document(sweep, "sweep"), _overrides(values), [])


def _document(given: str | Path | Values, kind: str) -> OverlaidDocument:
    if isinstance(given, str | Path):
        return OverlaidDocument.of(load(local_path(str(given))))
    if not isinstance(given, Mapping):
        rule, remedy = f"must be a {kind}", "give the path of its YAML file, or a dict of what that would hold"
        raise InputError([Diagnostic((), rule, f"`{type(given).__name__}`", remedy, kind, 1)])
    return _made(as_yaml(given), kind)


def _made(plain: dict[Any, Any], kind: str) -> OverlaidDocument:
    """The document of what no file has; `kind` stands for one in what is said of it."""
    return OverlaidDocument(kind, plain, in_python=True)


def place_given(place: object, name: str) -> str | None:
    """A folder, file or URI, or none.

    Raises:
        InputError: it is something else, which as a text would name a place that nobody meant.
    """
    return None if place is None else required_place(place, name)


def required_place(place: object, name: str) -> str:
    """A folder, file or URI.

    Raises:
        InputError: it is something else.
    """
    if isinstance(place, str | Path):
        return str(place)
    raise mistake(name, "must be a place", place, "give a path or a URI, as text or a pathlib.Path")


def count_given(name: str, given: object, least: int) -> int:
    """A whole number from `least` on, of at most 63 bits; NumPy's too.

    Raises:
        InputError: it is something else.
    """
    count = whole_number(given)
    if count is None or not least <= count < 2**63:
        raise mistake(name, f"must be a whole number from {least}", given, f"give e.g. {max(least, 16)}")
    return count


def whole_number(given: object) -> int | None:
    """A whole number, NumPy's too; None of what is none."""
    try:
        return None if isinstance(given, bool) else operator.index(given)  # type: ignore[arg-type]  # what is none raises
    except TypeError:
        return None


def text_given(text: object, name: str, example: str) -> str | None:
    """A text, or none.

    Raises:
        InputError: it is something else.
    """
    if text is None or isinstance(text, str):
        return text
    raise mistake(name, "must be a text", text, f"give e.g. {example!r}")


def listener_given(on_report: OnReport) -> OnReport:
    """A listener that is given copies of reports: what it does to them changes nothing here.

    Raises:
        InputError: it cannot be called with a report.
    """
    if not callable(on_report):
        raise mistake("on_report", "must be a function of one report", on_report, "give a function, e.g. print")
    return on_report if on_report is nobody else lambda payload: on_report(copy.deepcopy(payload))


def preference_given(prefer: object) -> str | None:
    """A preference as the command's option has it.

    Raises:
        InputError: it is neither a text nor a mapping of plain values.
    """
    if prefer is None or isinstance(prefer, str):
        return prefer
    try:
        return json.dumps(as_yaml(dict(prefer)))  # type: ignore[call-overload]  # what is no mapping raises
    except (TypeError, ValueError):
        raise mistake("prefer", "must be a preference", prefer, "give e.g. {'weights': {'objective': 1}}") from None


def mistake(name: str, rule: str, given: object, remedy: str) -> InputError:
    """What is to be raised for an argument that is not what it must be."""
    return InputError([Diagnostic((name,), rule, show(given), remedy, "Python", 1)])


def _overrides(values: Values | None) -> list[Override]:
    if values is not None and not isinstance(values, Mapping):
        raise mistake("set", "must be a dict of dotted keys", values, "give e.g. {'train.steps': 500}")
    if odd := [key for key in values or {} if not isinstance(key, str)]:
        raise mistake("set", "must have texts as keys", odd[0], "give e.g. {'train.steps': 500}")
    return [
        Override(key, as_yaml(value, (key,)), "set", line) for line, (key, value) in enumerate((values or {}).items(), start=1)
    ]
