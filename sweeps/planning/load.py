"""Reading a sweep: completed by its recipe and the overrides, and checked as a whole before anything starts.

Importing this takes no Optuna, MLflow, Ray or torch: bad input is answered at once.
"""

from __future__ import annotations

import copy
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from dualsweep.sweeps.planning.budgets import NAME, check_continuation, check_informed, check_tolerances, searched_budgets
from dualsweep.sweeps.planning.early_stopping import check_early_stopping
from dualsweep.sweeps.planning.kinds import WORDS
from dualsweep.sweeps.planning.plan import Plan, implied_objectives
from dualsweep.sweeps.planning.preferring import check_prefer
from dualsweep.sweeps.planning.rules import (
    check_amortised,
    check_direction,
    check_measured,
    check_objectives,
    check_points,
    check_seeds,
    check_storage,
    check_tracking,
    check_warm_start,
    own_metrics,
)  # fmt: skip
from dualsweep.sweeps.planning.schema import Sweep
from dualsweep.sweeps.planning.search import Written, check_grid, read_search, resolve
from dualsweep.sweeps.planning.trial_lengths import check_lengths
from dualsweep.trainer.config.diagnostics import Diagnostic, InputError
from dualsweep.trainer.config.wording import nearest, show
from dualsweep.trainer.config.yaml_file import load, validate
from dualsweep.trainer.recipe.load import OverlaidDocument, Override, is_sweep, lay_over, overrides_given, validate_recipe
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.storage import local_path

if TYPE_CHECKING:
    pass

Answer = TypeVar("Answer")
#: Sections whose keys have dots or slashes of their own: what follows the first dot is one key.
_ONE_KEY_BELOW = ("search", "objectives", "set")


def load_plan(path: str | Path, overrides: Sequence[str] | Mapping[str, Any] = (), store: str | None = None) -> Plan:
    """Reads a sweep file and its recipe, with `overrides` of the sweep's own keys, else the recipe's, laid over them: a dict by
    dotted keys or texts `key=value`.

    `search.KEY=null` drops an entry of the search. `store` is an MLflow store that is asked in place of the sweep's own, which
    is not looked at then.

    Raises:
        InputError: with every problem found: the sweep's by line, the recipe's by line, then the overrides'.
    """
    given, problems = overrides_given(overrides)
    document = _read(problems, lambda: OverlaidDocument.of(load(path)))
    if document is None:
        raise InputError(problems)
    return plan_from(document, given, problems, store)


def plan_from(
    document: OverlaidDocument, overrides: Sequence[Override], problems: list[Diagnostic], store: str | None = None
) -> Plan:
    """The plan of a sweep's document, over which the overrides are laid; else as `load_plan`, which reads it from a file.

    Raises:
        InputError: with `problems` and every problem found.
    """
    if "formulation" in document.data and not is_sweep(document):
        train = f"run `dualsweep train {shlex.quote(document.file)}`" if document.source else "give it to `dualsweep.train`"
        remedy = f"{train}, or name it as the `recipe` of a sweep"
        raise InputError([Diagnostic((), "must be a sweep", "a recipe", remedy, document.file, 1)])
    on_recipe = _lay_on_sweep(document, overrides, problems)
    if store is not None and isinstance(document.data.get("mlflow"), dict):
        document.data["mlflow"].pop("tracking_uri", None)
    sweep = _read(problems, lambda: validate(Sweep, document))
    entries, found = read_search(document)
    problems += found
    problems += check_grid(document, entries) if _sampler_name(document) == "grid" else []
    base = _read(problems, lambda: _base(document))
    plan = None
    if base is not None:
        plan = _complete(document, sweep, base, entries, on_recipe, problems, store)
    if problems or plan is None:
        raise InputError(_ordered(problems, [document.file, base.file if base else ""]))
    return plan


def _complete(
    document: OverlaidDocument,
    sweep: Sweep | None,
    base: OverlaidDocument,
    entries: Sequence[Written],
    on_recipe: Sequence[Override],
    problems: list[Diagnostic],
    store: str | None,
) -> Plan | None:
    """Lays the fixed values over the base recipe and checks the search over it; None where anything is wrong."""
    fixed = [*_written_in(document, "set"), *on_recipe]
    completed = copy.deepcopy(base)
    laid = lay_over(completed, [*_written_in(document, "resources"), *fixed])
    recipe = _read(problems, lambda: validate_recipe(completed, laid))
    problems += _check_objectives(document, base, completed, recipe)
    if recipe is None:  # a bad fixed value should not hide what is wrong with the search
        unchanged = _read([], lambda: validate_recipe(base))
        problems += resolve(document, base, entries, fixed)[1] if unchanged is not None else []
        return None
    problems += check_measured(document, recipe)
    parameters, search_problems = resolve(document, completed, entries, fixed)
    problems += search_problems
    budgets = searched_budgets(parameters, completed)
    if _sampler_name(document) == NAME and not search_problems and parameters:
        problems += check_informed(document, parameters, budgets, recipe)
    if sweep is None:
        return None
    plan = Plan(sweep, document, recipe, completed, tuple(parameters), budgets, tuple(on_recipe))
    if sweep.continuation is not None and not search_problems:
        problems += check_continuation(document, parameters, budgets, recipe, sweep.continuation.steps)
    problems += _check_plan(plan, store)
    return plan


def _check_plan(plan: Plan, store: str | None) -> list[Diagnostic]:
    """What is wrong between the keys of a sweep whose search has been read."""
    sweep, document, recipe = plan.sweep, plan.document, plan.recipe
    problems = check_tolerances(plan.budgets, plan.recipe_document, recipe)
    problems += check_seeds(document, sweep.seeds, recipe.seed, plan.parameters)
    problems += check_points(document, sweep, plan.parameters, plan.recipe_document)
    own = sweep.mlflow.tracking_uri
    tracking = check_tracking(document, own, own or plan.tracking_uri) if store is None else []
    problems += tracking or check_storage(document, plan.tracking_uri)
    problems += check_warm_start(document, sweep)
    problems += check_lengths(plan) or check_early_stopping(document, sweep.early_stopping, recipe, list(plan.objectives))
    problems += check_amortised(document, recipe, lambda: plan.amortised_recipe)
    problems += check_prefer(document, ("prefer",), list(plan.objectives), own_metrics(plan.constraints))
    return problems


def _check_objectives(
    document: OverlaidDocument, base: OverlaidDocument, completed: OverlaidDocument, recipe: Recipe | None
) -> list[Diagnostic]:
    """The objectives against the recipe that will be run; where that is invalid, as far as its document tells."""
    if recipe is None:
        problems = check_objectives(document, _names(completed) or _names(base))
    else:
        problems = check_objectives(document, [each.name for each in recipe.constraints], implied_objectives(recipe))
    return problems + check_direction(document, completed)


def _read(problems: list[Diagnostic], read: Callable[[], Answer]) -> Answer | None:
    """Goes on after bad input, so that one run tells all that is wrong."""
    try:
        return read()
    except InputError as error:
        problems.extend(error.diagnostics)
        return None


def _ordered(problems: Sequence[Diagnostic], files: Sequence[str]) -> list[Diagnostic]:
    """The sweep's problems by line, then the recipe's, then those of the command line; each once."""
    order = {file: position for position, file in reversed(list(enumerate(files)))}
    return sorted(dict.fromkeys(problems), key=lambda each: (order.get(each.file, len(files)), each.line))


def _lay_on_sweep(document: OverlaidDocument, overrides: Sequence[Override], problems: list[Diagnostic]) -> list[Override]:
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
            problems.append(override.diagnostic("must be a key of the sweep or of the recipe", f"`{head}`", nearest(head, valid)))
    problems += lay_over(document, mine)
    return on_recipe


def _lay_entry(document: OverlaidDocument, override: Override, section: str, key: str) -> None:
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


def _spelled_out(document: OverlaidDocument, override: Override) -> Override:
    """`sampler.seed` over `sampler: tpe` needs the long form below it."""
    sampler = document.data.get("sampler")
    if override.key.startswith("sampler.") and isinstance(sampler, str):
        document.data["sampler"] = {"name": sampler}
    return override


def _sampler_name(document: OverlaidDocument) -> object:
    sampler = document.data.get("sampler")
    return sampler.get("name") if isinstance(sampler, dict) else sampler


def _base(document: OverlaidDocument) -> OverlaidDocument | None:
    """The recipe's own document; None where the sweep's schema says what is wrong."""
    written = document.data.get("recipe")
    if isinstance(written, dict):
        return document.part("recipe")
    if not isinstance(written, str):
        return None
    path = Path(document.file).parent / (local_path(written) if written.startswith(("~", "file:")) else written)
    if not path.is_file():
        beside = sorted(each.name for each in path.parent.glob("*.y*ml")) if path.parent.is_dir() else []
        remedy = f"in {path.parent}: {nearest(path.name, beside)}" if beside else "write its path from the sweep's own folder"
        raise InputError(
            [
                document.diagnostic(
                    ("recipe",), "must be the path of a recipe that exists", f"{show(written)} (no file {path})", remedy
                )
            ]
        )
    return OverlaidDocument.of(load(path))


def _written_in(document: OverlaidDocument, section: str) -> list[Override]:
    """The values of a section of the sweep that stand above the recipe's, with the line each is on."""
    entries = document.data.get(section)
    if not isinstance(entries, dict):
        return []
    prefix = "" if section == "set" else f"{section}."
    laid = []
    for key, value in entries.items():
        at = document.diagnostic((section, key), "", "", "")
        laid.append(Override(f"{prefix}{key}", value, at.file, at.line))
    return laid


def _names(recipe: OverlaidDocument) -> list[str]:
    """The constraints' names in a recipe that may yet be invalid."""
    constraints = recipe.data.get("constraints")
    found = constraints if isinstance(constraints, list) else []
    return [each["name"] for each in found if isinstance(each, dict) and isinstance(each.get("name"), str)]
