"""Input checked as a whole before anything starts or is written; the heavy part only when the file is found good."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from dualsweep.analysis.database import wrong_with_file, wrong_with_writing
from dualsweep.analysis.tracking_uri import VARIABLE, tracking_uri, wrong_with
from dualsweep.cluster.errors import ClusterError
from dualsweep.cluster.machine import local_machine
from dualsweep.cluster.resources import Ask, concurrency
from dualsweep.sweeps.planning.load import load_plan
from dualsweep.sweeps.planning.plan import Plan
from dualsweep.sweeps.planning.rules import check_classes
from dualsweep.sweeps.planning.unused_search import search_warnings
from dualsweep.sweeps.records.folder_kind import has_trained, other_kind
from dualsweep.sweeps.typed import sweep_in_place_of_train, train_in_place_of_sweep
from dualsweep.trainer.checks import before_loading
from dualsweep.trainer.checks.findings import Findings, findings
from dualsweep.trainer.checks.recipe import check_by_loading
from dualsweep.trainer.config.diagnostics import Diagnostic, InputError
from dualsweep.trainer.config.masking import masked
from dualsweep.trainer.config.uris import BadPlaceError, is_local, lasting_path
from dualsweep.trainer.config.yaml_file import Document, load
from dualsweep.trainer.recipe.load import is_sweep, load_recipe
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.storage import check_writable

#: How far a check goes: no further than files tell; also a dry run where only that can tell, which a run that goes on has had;
#: a dry run of all parts.
Depth = Literal["light", "needed", "whole"]
NOTHING = Findings("", "", "", ())


@dataclass(frozen=True)
class Checked:
    """A recipe, or a sweep's plan with its base recipe, found good; `output` is absolute where it is a local folder.

    `store` is the MLflow store that a training is logged to, None for none; a sweep's is in its plan. `found` is what the check
    found beside mistakes.
    """

    file: Path
    recipe: Recipe
    document: Document
    plan: Plan | None
    output: str
    address: str | None
    found: Findings
    store: str | None = None

    @property
    def ask(self) -> Ask:
        resources = self.recipe.resources
        return Ask(resources.least, resources.cpus_per_worker, resources.gpus_per_worker, resources.most)


def check_is_sweep(file: Path) -> None:
    """Refuses a recipe where `sweep` was typed.

    Raises:
        InputError: with the command that was typed, as `train`.
    """
    if not is_sweep(document := load(file)) and "formulation" in document.data:
        raise InputError([document.diagnostic((), "must be a sweep", "a recipe", f"run `{train_in_place_of_sweep()}`")])


def check_is_recipe(file: Path) -> None:
    """Refuses a sweep where `train` was typed.

    Raises:
        InputError: with the command that was typed, as `sweep`.
    """
    if is_sweep(document := load(file)) and "formulation" not in document.data:
        raise InputError([document.diagnostic((), "must be a recipe", "a sweep", f"run `{sweep_in_place_of_train()}`")])


def checked_recipe(
    file: Path, sets: Sequence[str], output: str | None, json_file: Path | None, address: str | None, depth: Depth = "needed"
) -> Checked:
    """Checks a recipe for `train`.

    Raises:
        InputError: with every problem found.
    """
    return checked_read(*load_recipe(file, sets), output, json_file, address, depth)


def checked_read(
    recipe: Recipe, document: Document, output: str | None, json_file: Path | None, address: str | None, depth: Depth = "needed"
) -> Checked:
    """Checks a recipe that was read.

    Raises:
        InputError: with every problem found.
    """
    place = _place(output, recipe.name)
    return _complete(Checked(Path(document.file), recipe, document, None, place, address, NOTHING), json_file, depth)


def checked_sweep(
    file: Path, sets: Sequence[str], output: str | None, json_file: Path | None, address: str | None, depth: Depth = "needed"
) -> Checked:
    """Checks a sweep for `sweep`.

    Raises:
        InputError: with every problem found.
    """
    return checked_plan(load_plan(file, sets), output, json_file, address, depth)


def checked_plan(plan: Plan, output: str | None, json_file: Path | None, address: str | None, depth: Depth = "needed") -> Checked:
    """Checks a plan that was read.

    Raises:
        InputError: with every problem found.
    """
    place = _place(output, plan.name)
    checked = Checked(Path(plan.document.file), plan.recipe, plan.recipe_document, plan, place, address, NOTHING)
    return _complete(checked, json_file, depth)


def checked_store(written: str | None) -> str | None:
    """The MLflow store of a training: the one written, else MLFLOW_TRACKING_URI, else none.

    Raises:
        InputError: it can't be one.
    """
    if not written and not os.environ.get(VARIABLE):
        return None
    key = "--tracking-uri" if written else VARIABLE
    try:
        uri = tracking_uri(written)
        wrong, state = wrong_with(written or uri), wrong_with_file(uri) or wrong_with_writing(uri)
    except BadPlaceError as error:
        raise InputError([error.diagnostic.at((key,), "command line", 1)]) from None
    if wrong is not None:
        raise InputError([Diagnostic((key,), wrong[0], repr(written or uri), wrong[1], "command line", 1)])
    if state is not None:
        raise InputError([Diagnostic((key,), *state, "command line", 1)])
    return uri


def checked_elsewhere(file: Path, sets: Sequence[str]) -> Checked:
    """Checks a file that will run elsewhere, so without this machine's resources and folders.

    Raises:
        InputError: with every problem found.
    """
    plan = load_plan(file, sets) if is_sweep(load(file)) else None
    recipe, document = load_recipe(file, sets) if plan is None else (plan.recipe, plan.recipe_document)
    if problems := before_loading.check(recipe, document):
        raise InputError(problems)
    return Checked(file, recipe, document, plan, "", "auto", NOTHING)


def _place(output: str | None, name: str) -> str:
    place = output or str(Path("runs") / name)
    try:
        return str(lasting_path(place)) if is_local(place) else place
    except BadPlaceError as error:
        raise InputError([error.diagnostic.at(("--output",), "command line", 1)]) from None


def _complete(checked: Checked, json_file: Path | None, depth: Depth) -> Checked:
    """What the schema can't tell: resources, outputs, data, and as far as `depth` says what loading and asking them shows."""
    problems = list(_resource_problems(checked))
    for key, place in (("--output", checked.output), ("--json", str(json_file.parent) if json_file else None)):
        try:
            if place is not None:
                check_writable(place, key)
        except InputError as error:
            problems += error.diagnostics
    found, known = before_loading.examine(checked.recipe, checked.document)
    problems += found
    problems += _kind_problems(checked)
    if not problems and checked.plan is not None:
        problems += _storage_problems(checked.plan)
        if known.class_names is not None:
            problems += check_classes(checked.plan.document, checked.recipe, known.class_names)
    if problems:
        raise InputError(problems)
    if depth == "light" or (depth == "needed" and is_local(checked.output) and has_trained(Path(checked.output))):
        told = findings(checked.recipe, checked.document, known)
    else:
        told = check_by_loading(checked.recipe, checked.document, known, everything=depth == "whole")
    if checked.plan is not None:
        told = replace(told, warnings=(*search_warnings(checked.plan), *told.warnings))
    return replace(checked, found=told)


def _kind_problems(checked: Checked) -> Iterator[Diagnostic]:
    """A folder holds one kind of run: what one command writes there, those that read it take for the other's."""
    name, folder = checked.plan.name if checked.plan is not None else checked.recipe.name, masked(checked.output)
    try:
        there = other_kind(checked.output, sweep=checked.plan is not None)
    except BadPlaceError:  # which is told of the place itself
        there = None
    if there is not None:
        rule, remedy = "must be of a place with runs of its own kind", "write another `name`, or name another --output"
        document = checked.plan.document if checked.plan is not None else checked.document
        yield document.diagnostic(("name",), rule, f"`{name}`: {folder} holds {there}", remedy)


def _resource_problems(checked: Checked) -> Iterator[Diagnostic]:
    """On this machine, more than it has is known at once; a cluster is asked right after connecting."""
    if runs_elsewhere(checked.address):
        return
    try:
        concurrency(local_machine(), checked.ask)
    except ClusterError as error:
        document = (
            checked.plan.document if checked.plan is not None and checked.plan.sweep.resources is not None else checked.document
        )
        yield document.locate(_of_cluster(error).at(("resources", "workers")))


def _of_cluster(error: ClusterError) -> Diagnostic:
    """What `cluster/` found, which imports nothing of ours."""
    return Diagnostic((), error.rule, error.received, error.remedy)


def _storage_problems(plan: Plan) -> Iterator[Diagnostic]:
    if plan.storage is None:
        return
    from dualsweep.sweeps.studies.storage import StorageError, check_reachable

    try:
        check_reachable(plan.storage)
    except StorageError as error:
        yield plan.document.locate(error.diagnostic.at(("storage",)))


def runs_elsewhere(address: str | None) -> bool:
    """Whether the run joins a cluster: an address other than `local` was given, or (inside a job) RAY_ADDRESS is set."""
    return (address or os.environ.get("RAY_ADDRESS") or "local") != "local"
