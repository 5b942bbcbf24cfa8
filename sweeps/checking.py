"""Input checked as a whole before anything starts or is written; the heavy part only when the file is found good."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dualsweep.analysis.database import wrong_with_file, wrong_with_writing
from dualsweep.analysis.tracking_uri import VARIABLE, tracking_uri, wrong_with
from dualsweep.cluster.errors import ClusterError
from dualsweep.cluster.machine import local_machine
from dualsweep.cluster.resources import Ask, concurrency
from dualsweep.sweeps.planning.load import load_plan
from dualsweep.sweeps.planning.plan import Plan
from dualsweep.sweeps.planning.schema import EarlyStopping
from dualsweep.sweeps.records.folder_kind import other_kind
from dualsweep.sweeps.records.trial_start import continued_dual_step, continued_steps
from dualsweep.trainer.checks import before_loading
from dualsweep.trainer.checks.recipe import check_by_loading
from dualsweep.trainer.config.diagnostics import Diagnostic, InputError
from dualsweep.trainer.config.masking import masked
from dualsweep.trainer.config.uris import BadPlaceError, is_local, lasting_path
from dualsweep.trainer.config.yaml_file import Document, load
from dualsweep.trainer.feasibility.defaults import tolerances
from dualsweep.trainer.feasibility.tolerance import SHARE, Tolerance
from dualsweep.trainer.recipe.load import is_sweep, load_recipe
from dualsweep.trainer.recipe.recipe import Recipe, flatten
from dualsweep.trainer.storage import check_writable


@dataclass(frozen=True)
class Checked:
    """A recipe, or a sweep's plan with its base recipe, found good; `output` is absolute where it is a local folder.

    `store` is the MLflow store that a training is logged to, None for none; a sweep's is in its plan.
    """

    file: Path
    recipe: Recipe
    document: Document
    plan: Plan | None
    output: str
    address: str | None
    store: str | None = None

    @property
    def ask(self) -> Ask:
        resources = self.recipe.resources
        return Ask(resources.workers, resources.cpus_per_worker, resources.gpus_per_worker)


def checked_recipe(file: Path, sets: Sequence[str], output: str | None, json_file: Path | None, address: str | None) -> Checked:
    """Checks a recipe for `train`.

    Raises:
        InputError: with every problem found.
    """
    return checked_read(*load_recipe(file, sets), output, json_file, address)


def checked_read(recipe: Recipe, document: Document, output: str | None, json_file: Path | None, address: str | None) -> Checked:
    """Checks a recipe that was read.

    Raises:
        InputError: with every problem found.
    """
    place = _place(output, recipe.name)
    return _complete(Checked(Path(document.file), recipe, document, None, place, address), json_file)


def checked_sweep(file: Path, sets: Sequence[str], output: str | None, json_file: Path | None, address: str | None) -> Checked:
    """Checks a sweep for `sweep`.

    Raises:
        InputError: with every problem found.
    """
    return checked_plan(load_plan(file, sets), output, json_file, address)


def checked_plan(plan: Plan, output: str | None, json_file: Path | None, address: str | None) -> Checked:
    """Checks a plan that was read.

    Raises:
        InputError: with every problem found.
    """
    place = _place(output, plan.name)
    return _complete(Checked(Path(plan.document.file), plan.recipe, plan.recipe_document, plan, place, address), json_file)


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


def check_file_only(file: Path, sets: Sequence[str]) -> str:
    """Checks a file that will run elsewhere, so without this machine's resources and folders; `train` or `sweep`."""
    if is_sweep(load(file)):
        plan = load_plan(file, sets)
        kind, recipe, document = "sweep", plan.recipe, plan.recipe_document
    else:
        kind, (recipe, document) = "train", load_recipe(file, sets)
    if problems := before_loading.check(recipe, document):
        raise InputError(problems)
    return kind


def _place(output: str | None, name: str) -> str:
    place = output or str(Path("runs") / name)
    try:
        return str(lasting_path(place)) if is_local(place) else place
    except BadPlaceError as error:
        raise InputError([error.diagnostic.at(("--output",), "command line", 1)]) from None


def _complete(checked: Checked, json_file: Path | None) -> Checked:
    """What the schema can't tell: resources, outputs, data."""
    problems = list(_resource_problems(checked))
    for key, place in (("--output", checked.output), ("--json", str(json_file.parent) if json_file else None)):
        try:
            if place is not None:
                check_writable(place, key)
        except InputError as error:
            problems += error.diagnostics
    if json_file is not None and json_file.is_dir():
        problems.append(checked.document.diagnostic((), "--json must name a file", f"the folder {json_file}", "add a file name"))
    problems += before_loading.check(checked.recipe, checked.document)
    problems += _kind_problems(checked)
    if not problems and checked.plan is not None:
        problems += _storage_problems(checked.plan)
    if problems:
        raise InputError(problems)
    check_by_loading(checked.recipe, checked.document)
    return checked


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


def _rules(early: EarlyStopping) -> Iterator[str]:
    """The rules that are on, with their settings."""
    if early.infeasible:
        yield "infeasible"
    for name, rule in (("dominated", early.dominated), ("halving", early.halving)):
        if rule is not None:
            yield f"{name} ({', '.join(f'{key} {value:g}' for key, value in rule)})"


def describe(checked: Checked) -> Iterator[str]:
    """The resolved plan, line by line."""
    recipe, plan, ask = checked.recipe, checked.plan, checked.ask
    yield f"{checked.file}: {'sweep' if plan else 'recipe'} `{plan.name if plan else recipe.name}` is good"
    if plan is not None:
        yield from _of_sweep(plan)
    workers = f"{ask.workers} worker{'s' if ask.workers > 1 else ''} of {ask.cpus_per_worker} CPU"
    gpus = f" and {ask.gpus_per_worker:g} GPU" if ask.gpus_per_worker else ""
    batch = f"{recipe.rollout.batch_size} trajectories" if recipe.terms_on("rollout") else f"batch {recipe.train.batch_size}"
    yield f"  one trial     {recipe.train.steps} steps of {batch} on {workers}{gpus}"
    if not runs_elsewhere(checked.address):
        fits = concurrency(local_machine(), ask, plan.sweep.concurrency if plan else None)
        yield f"  side by side  {fits.concurrent} ({fits.reason})"
    if recipe.data is not None and (examples := before_loading.summary(recipe.data)):
        yield f"  data          {examples}"
    yield from _of_problem(recipe, plan)
    yield f"  output        {masked(checked.output)}"
    for key, value in flatten(recipe).items():
        if value is not None:
            yield f"    {key} = {value}"


def _of_sweep(plan: Plan) -> Iterator[str]:
    """What is searched and how, and where it is kept."""
    recipe = plan.recipe
    yield f"  trials        {plan.trials}, placed by {plan.sweep.sampler.name} (seed {plan.sweep.sampler.seed})"
    for parameter in plan.parameters:
        yield f"  search        {parameter.name}: {parameter.kind.word} {list(parameter.kind.ends)}"
    yield "  objectives    " + ", ".join(f"{direction} {name}" for name, direction in plan.objectives.items())
    yield f"  front         {plan.deciding}"
    if (continuation := plan.sweep.continuation) is not None:
        steps = f"{continued_steps(recipe, continuation)} of {recipe.train.steps} steps"
        factors = f"dual.step_size x {continued_dual_step(recipe, continuation):g}, train.lr x {continuation.lr:g}"
        yield f"  continuation  from the nearest finished trial, with predicted multipliers: {steps}, {factors}"
    if (preference := plan.preference) is not None:
        yield f"  prefer        {preference}"
    if plan.early_stopping is not None:
        yield "  stops early   " + ", ".join(_rules(plan.early_stopping))
    if (amortised := plan.amortised_recipe) is not None:
        yield f"  amortised     one training of {amortised.train.steps} steps over a range of multipliers, before the trials"
    for note in plan.notes:
        yield f"  note          {note}"
    if plan.sweep.seeds > 1:
        yield f"  seeds         {plan.sweep.seeds} trainings a trial"
    if plan.points:
        yield f"  first         {len(plan.points)} given points"
    for source in plan.sweep.warm_start:
        yield f"  warm start    {source.name}"
    yield f"  study         {masked(plan.storage) if plan.storage else 'study.journal in the output folder'}"
    yield f"  tracking      {masked(plan.tracking_uri)}, experiment `{plan.experiment}`"


def _of_problem(recipe: Recipe, plan: Plan | None) -> Iterator[str]:
    """The objective and the constraints with their tolerances, those of a sweep's trials where they follow from its ranges."""
    within: dict[str, object] = dict(tolerances(recipe))
    if plan is not None:
        within |= dict.fromkeys(plan.own_tolerances, f"{100 * SHARE:g} % of the trial's budget")
        within |= {name: Tolerance(each) for name, each in plan.tolerances.items()}
    for named in recipe.terms:
        if named.column == 0:
            yield f"  {'maximise' if recipe.maximizes else 'minimise'}      {named.term.word}"
            continue
        constraint = recipe.constraints[named.column - 1]
        relative = " above the objective" if constraint.relative_to else ""
        bound = (
            "as small as the others"
            if constraint.budget is None
            else f"{constraint.kind.replace('_', ' ')} {constraint.budget:g}"
        )
        told = f" (tolerance {within[constraint.name]})" if constraint.budget is not None else ""
        yield f"  constraint    {constraint.name}: {named.term.word} {bound}{relative}{told}"
