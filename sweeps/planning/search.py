"""What a sweep varies: recipe keys with a kind of search each, wild-cards over the constraints, and a trial's recipe.

`constraints.*.at_most` is one parameter, set alike in every constraint; `constraints.[*].at_most` is one parameter for each
constraint, called `constraints.NAME.at_most`; `constraints.four.at_most` addresses one constraint by its name.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dualsweep.sweeps.planning.kinds import Integers, Kind, LogUniform, Uniform, listed, read_kind, tried, with_neighbours
from dualsweep.trainer.config.diagnostics import Diagnostic, InputError, Keys
from dualsweep.trainer.config.dotted_keys import NoSuchPlaceError, assign, expand, places
from dualsweep.trainer.config.wording import show
from dualsweep.trainer.config.yaml_file import Document, validate
from dualsweep.trainer.recipe.load import OverlaidDocument, Override
from dualsweep.trainer.recipe.recipe import Recipe

#: Keys that place or name a run instead of shaping it: the same for every trial of a sweep.
NOT_SEARCHED = ("name", "resources", "checkpoint")
#: Corners of the search space tried before a sweep starts; above this number only the ends of each key are.
_CORNERS = 256
#: Values that are shown of those that fit where others between them do not.
_SHOWN = 5


@dataclass(frozen=True)
class Written:
    """One entry of `search` as the sweep has it."""

    key: str
    kind: Kind

    @property
    def keys(self) -> Keys:
        return ("search", self.key, self.kind.word)


@dataclass(frozen=True)
class Parameter:
    """One parameter of the search: its name, how it is drawn, and the entry of `search` it comes from."""

    name: str
    kind: Kind
    written: Written


def apply(recipe: Mapping[Any, Any], params: Mapping[str, Any]) -> dict[Any, Any]:
    """A new plain recipe with `params` (dotted key → value) set, making absent sections such as `dual` on the way.

    Raises:
        NoSuchPlaceError: a key names a constraint that the recipe does not have.
    """
    data: dict[Any, Any] = copy.deepcopy(dict(recipe))
    for key, value in params.items():
        for keys in places(key, data):
            assign(data, keys, value)
    return data


def read_search(sweep: OverlaidDocument) -> tuple[list[Written], list[Diagnostic]]:
    """Reads the section `search` of a sweep by itself, without its recipe: entries that are well written, and problems."""
    section = sweep.data.get("search")
    if not isinstance(section, dict):  # the schema says so
        return [], []
    read = [(key, read_kind(sweep, ("search", key), value)) for key, value in section.items()]
    problems = [each for _, each in read if isinstance(each, Diagnostic)]
    return [Written(str(key), each) for key, each in read if not isinstance(each, Diagnostic)], problems


def resolve(
    sweep: OverlaidDocument, recipe: OverlaidDocument, entries: Sequence[Written], fixed: Iterable[Override]
) -> tuple[list[Parameter], list[Diagnostic]]:
    """The parameters of a search over a valid recipe, wild-cards expanded; and what is wrong with it.

    Both ends of every range (every choice, and of whole numbers those in `tried`) must make a valid recipe, as must the corners.
    """
    parameters: list[Parameter] = []
    problems: list[Diagnostic] = []
    taken: dict[Keys, str] = {}
    for override in fixed:
        taken.update(dict.fromkeys(_reached(override.key, recipe.data), f"the fixed value of `{override.key}`"))
    for entry in entries:
        if entry.key.split(".")[0] in NOT_SEARCHED:
            remedy = f"fix it under `set` or in the recipe; {', '.join(NOT_SEARCHED)} are not searched"
            problems.append(sweep.diagnostic(entry.keys[:2], "must be a key that shapes the training", f"`{entry.key}`", remedy))
            continue
        try:
            expanded = expand(entry.key, recipe.data)
        except NoSuchPlaceError as error:
            problems.append(sweep.locate(error.diagnostic.at(entry.keys[:2])))
            continue
        clash = next((other for keys in _all(expanded) for at, other in taken.items() if _overlap(keys, at)), None)
        if clash is not None:
            remedy = f"keep one of the two; `--set search.{entry.key}=null` drops this entry"
            problems.append(
                sweep.diagnostic(entry.keys[:2], "must set what nothing else sets", f"the same place as {clash}", remedy)
            )
        taken.update(dict.fromkeys(_all(expanded), f"`search.{entry.key}`"))
        new_parameters = [Parameter(name, entry.kind, entry) for name, _ in expanded]
        ends = _check_ends(sweep, recipe, new_parameters)
        problems += ends
        if not ends and clash is None:
            parameters += new_parameters
    return parameters, problems or _check_corners(sweep, recipe, parameters)


def check_grid(sweep: OverlaidDocument, entries: Iterable[Written]) -> list[Diagnostic]:
    """A grid needs finitely many values of every key."""
    return [
        sweep.diagnostic(
            entry.keys,
            "must have finitely many values with the sampler `grid`",
            f"the continuous `{entry.kind.word}`",
            "write `choice: [...]` or `int: [low, high]`, or take another sampler",
        )
        for entry in entries
        if listed(entry.kind) is None
    ]


def _reached(key: str, data: Any) -> list[Keys]:
    try:
        return places(key, data)
    except NoSuchPlaceError:  # told where the override is laid
        return []


def _all(expanded: Iterable[tuple[str, list[Keys]]]) -> Iterator[Keys]:
    return (keys for _, below in expanded for keys in below)


def _overlap(one: Keys, other: Keys) -> bool:
    """Whether two places are the same, or one lies within the other."""
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]


def _invalid(recipe: OverlaidDocument, params: Mapping[str, Any]) -> list[Diagnostic]:
    try:
        validate(Recipe, Document(recipe.file, apply(recipe.data, params), recipe.lines))
    except InputError as error:
        return error.diagnostics
    return []


def _check_ends(sweep: OverlaidDocument, recipe: OverlaidDocument, parameters: Sequence[Parameter]) -> list[Diagnostic]:
    """The problems of one entry's ends, each told at the entry's line; all its parameters are tried alike."""
    if not parameters:
        return []
    entry = parameters[0].written
    if (whole := _wants_whole_numbers(recipe, parameters)) is not None:
        received = show([entry.kind.ends[0], entry.kind.ends[-1]])
        return [sweep.diagnostic(entry.keys, "must be whole numbers for this key", received, f"write `int: {list(whole)}`")]
    outcomes = [(value, _invalid(recipe, {each.name: value for each in parameters})) for value in tried(entry.kind)]
    told, remedy = outcomes, None
    if isinstance(entry.kind, Integers):
        fit = [value for value, wrong in outcomes if not wrong]
        between = [each for each in outcomes if fit and fit[0] < each[0] < fit[-1] and each[1]]
        told = between[:1] or [outcomes[0], outcomes[-1]]
        remedy = f"write values that fit, e.g. `choice: {_some(fit)}`" if between else None
    problems = [_at_entry(sweep, recipe, parameters, value, each) for value, wrong in told for each in wrong]
    return [replace(each, remedy=remedy or each.remedy) for each in dict.fromkeys(problems)]


def _some(values: Sequence[int]) -> list[int]:
    """A few of many values, from the first to the last."""
    last, shown = len(values) - 1, min(_SHOWN, len(values)) - 1
    return [values[step * last // shown] for step in range(shown + 1)]


def _at_entry(
    sweep: OverlaidDocument, recipe: OverlaidDocument, parameters: Sequence[Parameter], value: Any, problem: Diagnostic
) -> Diagnostic:
    entry = parameters[0].written
    at = sweep.locate(replace(problem, keys=entry.keys[:2] if problem.rule == "must be a known key" else entry.keys))
    reached = {".".join(map(str, keys)) for each in parameters for keys in _reached(each.name, recipe.data)}
    own, below = f"{problem.key}.", any(problem.key == place or problem.key.startswith(f"{place}.") for place in reached)
    if below or any(place.startswith(own) for place in reached):  # at what is searched, or a section on the way is unknown
        return at
    rule = f"must make a valid recipe, in which {_subject(problem)}"
    return replace(at, rule=rule, received=f"{problem.received} with {show(value)}")


def _subject(problem: Diagnostic) -> str:
    """The rule with what it is about: rules over a whole section name their key themselves."""
    return problem.rule if problem.rule.startswith("`") else f"`{problem.key}` {problem.rule}"


def _wants_whole_numbers(recipe: OverlaidDocument, parameters: Sequence[Parameter]) -> tuple[int, int] | None:
    """The whole-number range that would be valid where a continuous one is not."""
    kind = parameters[0].kind
    if not isinstance(kind, Uniform | LogUniform):
        return None
    whole = Integers(math.ceil(kind.low), math.floor(kind.high))
    fractions = {each.name: kind.low + 0.5 * (kind.high - kind.low) + 1e-3 for each in parameters}
    if whole.low >= whole.high or not _invalid(recipe, fractions):
        return None
    valid = all(not _invalid(recipe, {each.name: end for each in parameters}) for end in whole.ends)
    return (whole.low, whole.high) if valid else None


def _check_corners(sweep: OverlaidDocument, recipe: OverlaidDocument, parameters: Sequence[Parameter]) -> list[Diagnostic]:
    """Ends that are valid one by one may not be together, as a small batch with many workers."""
    if len(parameters) < 2:
        return []
    values = [with_neighbours(each.kind) for each in parameters]
    if math.prod(map(len, values)) > _CORNERS:
        values = [each.kind.ends for each in parameters]
    if math.prod(map(len, values)) > _CORNERS:
        return []
    for corner in itertools.product(*values):
        params = {each.name: value for each, value in zip(parameters, corner, strict=True)}
        for problem in _invalid(recipe, params):
            rule = f"must make a valid recipe in every corner, in which {_subject(problem)}"
            shown = ", ".join(f"{name} = {value}" for name, value in params.items())
            inner = [each.name for each in parameters if params[each.name] not in each.kind.ends]
            remedy = f"write `choice` with values that fit for `{inner[0]}`, or fix the others" if inner else problem.remedy
            return [sweep.diagnostic(("search",), rule, f"{problem.received} with {shown}", remedy)]
    return []
