"""A sweep ready to run: read, completed by its recipe and the overrides, and checked as a whole before anything starts.

Importing this takes no Optuna, MLflow, Ray or torch: bad input is answered at once.
"""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sweeps.budgets import NAME, check_continuation, check_informed
from sweeps.kinds import WORDS, listed
from sweeps.preferring import check_prefer, preference_of
from sweeps.rules import (
    check_amortised,
    check_direction,
    check_objectives,
    check_points,
    check_seeds,
    check_storage,
    check_warm_start,
    own_metrics,
)  # fmt: skip
from sweeps.schema import Direction, EarlyStopping, Sweep
from sweeps.search import Parameter, Written, apply, check_grid, read_search, resolve
from sweeps.stopping.asking import applicable, check_early_stopping
from sweeps.storing import storage_url
from trainer.documents import Document, load, nearest, show, validate
from trainer.errors import BadInput, Problem
from trainer.load import Layered, Override, lay_over, read_overrides, validate_recipe
from trainer.recipe import Recipe

if TYPE_CHECKING:
    from analysis.recommendation.preference import Preference

Answer = TypeVar("Answer")
#: Sections whose keys have dots or slashes of their own: what follows the first dot is one key.
_ONE_KEY_BELOW = ("search", "objectives", "set")
#: The steps of an amortised training, in those of one trial, unless the sweep says.
AMORTISED_STEPS = 3
_DEFAULT_STORE = "mlflow.db"


@dataclass(frozen=True)
class Plan:
    """A checked sweep. `recipe` and `recipe_document` are the base that trials vary, with every fixed value in it."""

    sweep: Sweep
    document: Layered
    recipe: Recipe
    recipe_document: Layered
    parameters: tuple[Parameter, ...]

    @property
    def name(self) -> str:
        return self.sweep.name

    @property
    def objectives(self) -> dict[str, Direction]:
        """Metric → direction, in the order of the file; unless given, the objective against what is bounded."""
        if self.sweep.objectives is not None:
            return self.sweep.objectives
        objective: dict[str, Direction] = {"objective": "maximize" if self.recipe.maximizes else "minimize"}
        kinds = {each.name: each.kind for each in self.recipe.constraints}
        if kinds and set(kinds.values()) == {"at_most"}:
            return {**objective, "value/max": "minimize"}
        directions: dict[str, Direction] = {"at_most": "minimize", "at_least": "maximize"}
        bounded = {f"value/{name}": directions[kind] for name, kind in kinds.items() if kind in directions}
        return {**objective, **bounded}

    @property
    def preference(self) -> Preference | None:
        """Which point of the front the user prefers."""
        return preference_of(self.sweep.prefer, list(self.objectives))

    @property
    def constraints(self) -> tuple[str, ...]:
        """The names of the recipe's constraints."""
        return tuple(each.name for each in self.recipe.constraints)

    @property
    def grid_size(self) -> int | None:
        """The number of points of a grid; None where a key is continuous."""
        sizes = [listed(each.kind) for each in self.parameters]
        return math.prod(len(each) for each in sizes if each is not None) if None not in sizes else None

    @property
    def trials(self) -> int:
        """The number of trials that will run: those asked for, or with the sampler `grid` its points where they are fewer."""
        if self.sweep.sampler.name == "grid" and self.grid_size is not None:
            return min(self.sweep.trials, self.grid_size)
        return self.sweep.trials

    @property
    def seeds(self) -> tuple[int | None, ...]:
        """The seeds of a trial's trainings, from the recipe's own on; (None,) where a trial is one training."""
        if self.sweep.seeds == 1:
            return (None,)
        return tuple(range(self.recipe.seed, self.recipe.seed + self.sweep.seeds))

    @property
    def early_stopping(self) -> EarlyStopping | None:
        """The rules that may stop a trial, of those asked for; None where nothing may."""
        asked = self.sweep.early_stopping
        return applicable(asked, self.recipe, list(self.objectives)) if asked is not None else None

    @property
    def amortised_recipe(self) -> Recipe | None:
        """That of the sweep's amortised training, in whole dual steps; None where there is none."""
        spec = self.sweep.amortised
        if spec is None:
            return None
        every = self.recipe.dual.every
        steps = -(-(spec.steps or AMORTISED_STEPS * self.recipe.train.steps) // every) * every
        laid = {"amortised": spec.model_dump(exclude={"steps"}), "train": {**self.recipe.train.model_dump(), "steps": steps}}
        return Recipe.model_validate({**self.recipe.model_dump(), **laid})

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know about a valid plan."""
        if self.sweep.sampler.name == NAME:
            return ("budgets are placed by the trials' multipliers; the sweep may end before, where the front's band is narrow",)
        grid = self.grid_size if self.sweep.sampler.name == "grid" else None
        if grid is None or grid == self.sweep.trials:
            return ()
        if grid < self.sweep.trials:
            return (f"the grid has {grid} points: {grid} trials run, not {self.sweep.trials}",)
        return (f"the grid has {grid} points: {self.sweep.trials} of them run, in an order shuffled by the seed",)

    @property
    def experiment(self) -> str:
        return self.sweep.mlflow.experiment or self.name

    @property
    def tracking_uri(self) -> str:
        """The tracking URI, with a relative SQLite path made absolute: workers and later commands stand in other folders."""
        uri = self.sweep.mlflow.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{_DEFAULT_STORE}"
        scheme, _, path = uri.partition("sqlite:///")
        return f"sqlite:///{Path(path).absolute()}" if not scheme and path and path != ":memory:" else uri

    @property
    def storage(self) -> str | None:
        """The URL of the study's storage, its path absolute; None where it is the journal in the output folder."""
        return None if self.sweep.storage is None else storage_url(self.sweep.storage)

    @property
    def points(self) -> list[dict[str, Any]]:
        """What is tried first: for the first trials, values of all or some parameters."""
        return self.sweep.points

    def recipe_data(self, params: Mapping[str, Any]) -> dict[Any, Any]:
        """A trial's recipe as plain data, `params` by their parameters' names."""
        return apply(self.recipe_document.data, params)

    def trial_recipe(self, params: Mapping[str, Any]) -> Recipe:
        """A trial's recipe.

        Raises:
            BadInput: these values do not make a valid recipe together, though their ranges' ends do.
        """
        return validate(Recipe, Document(self.recipe_document.file, self.recipe_data(params)))


def load_plan(path: str | Path, overrides: Sequence[str] = ()) -> Plan:
    """Reads a sweep file with `key=value` overrides (the sweep's own keys, else the recipe's) and its recipe.

    `search.KEY=null` drops an entry of the search.

    Raises:
        BadInput: with every problem found: the sweep's by line, the recipe's by line, then the overrides'.
    """
    given, problems = read_overrides(overrides)
    document = _read(problems, lambda: Layered.of(load(path)))
    if document is None:
        raise BadInput(problems)
    on_recipe = _lay_on_sweep(document, given, problems)
    sweep = _read(problems, lambda: validate(Sweep, document))
    entries, found = read_search(document)
    problems += found
    problems += check_grid(document, entries) if _sampler_name(document) == "grid" else []
    base = _read(problems, lambda: _base(document))
    plan = None
    if base is not None:
        problems += check_objectives(document, _names(base))
        problems += check_direction(document, base)
        plan = _complete(document, sweep, base, entries, on_recipe, problems)
    if problems or plan is None:
        raise BadInput(_ordered(problems, [document.file, base.file if base else ""]))
    return plan


def _complete(
    document: Layered,
    sweep: Sweep | None,
    base: Layered,
    entries: Sequence[Written],
    on_recipe: Sequence[Override],
    problems: list[Problem],
) -> Plan | None:
    """Lays the fixed values over the base recipe and checks the search over it; None where anything is wrong."""
    fixed = [*_written_in(document, "set"), *on_recipe]
    completed = copy.deepcopy(base)
    laid = lay_over(completed, [*_written_in(document, "resources"), *fixed])
    recipe = _read(problems, lambda: validate_recipe(completed, laid))
    if recipe is None:  # a bad fixed value should not hide what is wrong with the search
        unchanged = _read([], lambda: validate_recipe(base))
        problems += resolve(document, base, entries, fixed)[1] if unchanged is not None else []
        return None
    parameters, found = resolve(document, completed, entries, fixed)
    problems += found
    if _sampler_name(document) == NAME and not found and parameters:
        problems += check_informed(document, parameters, completed, recipe)
    if sweep is None:
        return None
    plan = Plan(sweep, document, recipe, completed, tuple(parameters))
    if sweep.continuation is not None and not found:
        problems += check_continuation(document, parameters, completed, recipe, sweep.continuation.steps)
    problems += check_seeds(document, sweep.seeds, recipe.seed, parameters)
    problems += check_points(document, sweep, parameters, completed)
    problems += check_storage(document, plan.tracking_uri)
    problems += check_warm_start(document, sweep)
    problems += check_early_stopping(document, sweep.early_stopping, recipe, list(plan.objectives))
    problems += check_amortised(document, recipe, lambda: plan.amortised_recipe)
    problems += check_prefer(document, ("prefer",), list(plan.objectives), own_metrics(plan.constraints))
    return plan


def _read(problems: list[Problem], read: Callable[[], Answer]) -> Answer | None:
    """Goes on after bad input, so that one run tells all that is wrong."""
    try:
        return read()
    except BadInput as error:
        problems.extend(error.problems)
        return None


def _ordered(problems: Sequence[Problem], files: Sequence[str]) -> list[Problem]:
    """The sweep's problems by line, then the recipe's, then those of the command line; each once."""
    order = {file: position for position, file in reversed(list(enumerate(files)))}
    return sorted(dict.fromkeys(problems), key=lambda each: (order.get(each.file, len(files)), each.line))


def _lay_on_sweep(document: Layered, overrides: Sequence[Override], problems: list[Problem]) -> list[Override]:
    """Lays those overrides over the sweep that are its own; returns those of the recipe."""
    on_recipe: list[Override] = []
    mine: list[Override] = []
    for override in overrides:
        head, _, rest = override.key.partition(".")
        if head in _ONE_KEY_BELOW and rest:
            _lay_entry(document, override, head, rest)
        elif head in Sweep.model_fields:
            mine.append(_spelled_out(document, override))
        elif head in Recipe.model_fields:
            on_recipe.append(override)
        else:
            valid = list(dict.fromkeys([*Sweep.model_fields, *Recipe.model_fields]))
            problems.append(override.problem("must be a key of the sweep or of the recipe", f"`{head}`", nearest(head, valid)))
    problems += lay_over(document, mine)
    return on_recipe


def _lay_entry(document: Layered, override: Override, section: str, key: str) -> None:
    """Lays `search.KEY`, `search.KEY.KIND`, `objectives.METRIC` or `set.KEY` over the sweep; null drops a search entry."""
    value = override.value
    if section == "search" and key.rpartition(".")[2] in WORDS:
        key, _, word = key.rpartition(".")
        value = {word: value}
    if not isinstance(document.data.get(section), dict):
        document.data[section] = {}
    if section == "search" and value is None and key in document.data[section]:
        del document.data[section][key]
        return
    document.lay((section, key), Override(f"{section}.{key}", value, override.file, override.line))


def _spelled_out(document: Layered, override: Override) -> Override:
    """`sampler.seed` over `sampler: tpe` needs the long form below it."""
    sampler = document.data.get("sampler")
    if override.key.startswith("sampler.") and isinstance(sampler, str):
        document.data["sampler"] = {"name": sampler}
    return override


def _sampler_name(document: Layered) -> object:
    sampler = document.data.get("sampler")
    return sampler.get("name") if isinstance(sampler, dict) else sampler


def _base(document: Layered) -> Layered | None:
    """The recipe's own document; None where the sweep's schema says what is wrong."""
    written = document.data.get("recipe")
    if isinstance(written, dict):
        return document.part("recipe")
    if not isinstance(written, str):
        return None
    path = Path(document.file).parent / written
    if not path.is_file():
        beside = sorted(each.name for each in path.parent.glob("*.y*ml")) if path.parent.is_dir() else []
        way_out = f"in {path.parent}: {nearest(path.name, beside)}" if beside else "write its path from the sweep's own folder"
        raise BadInput(
            [
                document.problem(
                    ("recipe",), "must be the path of a recipe that exists", f"{show(written)} (no file {path})", way_out
                )
            ]
        )
    return Layered.of(load(path))


def _written_in(document: Layered, section: str) -> list[Override]:
    """The values of a section of the sweep that stand above the recipe's, with the line each is on."""
    entries = document.data.get(section)
    if not isinstance(entries, dict):
        return []
    prefix = "" if section == "set" else f"{section}."
    laid = []
    for key, value in entries.items():
        at = document.problem((section, key), "", "", "")
        laid.append(Override(f"{prefix}{key}", value, at.file, at.line))
    return laid


def _names(recipe: Layered) -> list[str]:
    """The constraints' names in a recipe that may yet be invalid."""
    constraints = recipe.data.get("constraints")
    found = constraints if isinstance(constraints, list) else []
    return [str(each["name"]) for each in found if isinstance(each, dict) and "name" in each]
