"""`train`, `sweep`, `load` and `front` of `import dualsweep`: the commands, with what Python has at hand."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from dualsweep.sweeps.checking import checked_plan, checked_read, checked_store
from dualsweep.sweeps.mirrored.driving import brought, working_folder
from dualsweep.sweeps.output import Screen
from dualsweep.sweeps.planning.plan import Plan
from dualsweep.sweeps.python.drawn_front import Front
from dualsweep.sweeps.python.given import (
    Values,
    listener_given,
    place_given,
    plan_given,
    preference_given,
    recipe_given,
    required_place,
    text_given,
    told_in_python,
)
from dualsweep.sweeps.python.run import Run
from dualsweep.sweeps.python.swept import Swept
from dualsweep.sweeps.records.folder_kind import is_sweep_folder
from dualsweep.sweeps.records.run_of_file import run_of_file
from dualsweep.sweeps.records.sweep_summary import amortised_in, summary_in
from dualsweep.sweeps.records.trial_record import TrialRecord
from dualsweep.sweeps.report_listener import OnReport, nobody
from dualsweep.sweeps.reports.explaining import explain_run
from dualsweep.sweeps.trials.results import Results
from dualsweep.trainer.config.diagnostics import InputError
from dualsweep.trainer.config.uris import BadPlaceError, local_path
from dualsweep.trainer.recipe.recipe import Recipe

_STORE, _CLUSTER = "sqlite:///mlflow.db", "127.0.0.1:6379"


@told_in_python
def train(
    recipe: str | Path | Values | Recipe,
    output: str | Path | None = None,
    on_report: OnReport = nobody,
    *,
    set: Values | None = None,
    address: str | None = None,
    tracking_uri: str | None = None,
) -> Run:
    """Trains one recipe as `dualsweep train` does, with the same files, verdicts and progress, and returns how it ended.

    `recipe` is a file's path, a dict of what it would hold, or a `Recipe`; `set` has values that stand above its own, by dotted
    keys: `{"train.steps": 500}`. `output` is a folder or fsspec URI, runs/NAME unless given. `on_report` is called in this thread
    with every report of rank 0: {step, steps, seconds, points, …}. `address` is a Ray cluster's; without one this process's
    connection is used, else a local Ray for the time of the training. `tracking_uri` is an MLflow store to log to.

    The same call again continues an interrupted run from its last checkpoint, and returns a finished one's end.

    Raises:
        InputError: with every mistake found, before anything starts; or `output` holds another run.
        ClusterError: the cluster can't be joined or is too small.
    """
    from dualsweep.sweeps.single import run_single

    listener = listener_given(on_report)
    store = text_given(tracking_uri, "tracking_uri", _STORE)
    place, cluster = place_given(output, "output"), text_given(address, "address", _CLUSTER)
    checked = checked_read(*recipe_given(recipe, set), place, None, cluster)
    explained = run_single(replace(checked, store=checked_store(store)), screen := Screen(), listener)
    if explained.result.status == "failed":  # whose reason the command tells by itself, on stderr
        screen.print(f"failed: {explained.result.reason}", soft_wrap=True)
    return Run.of_training(explained, working_folder(checked.output))


@told_in_python
def sweep(
    plan: str | Path | Values | Plan,
    output: str | Path | None = None,
    address: str | None = None,
    on_report: OnReport = nobody,
    *,
    set: Values | None = None,
) -> Swept:
    """Runs or continues a sweep as `dualsweep sweep` does, and returns what it came to.

    `plan` is a file's path, a dict of what it would hold (its recipe in place, or a path from the working directory), or what
    `load_plan` gives; `set` has values that stand above its own, of the sweep's keys or the recipe's. `output` is runs/NAME
    unless given, `address` a Ray cluster's. `on_report` is called in this thread with every report of a training:
    {trial, step, steps, seconds, points, …}; what it raises ends the sweep, and the same call goes on with it.

    Raises:
        InputError: with every mistake found, before anything starts.
        ClusterError: the cluster can't be joined or is too small.
    """
    from dualsweep.sweeps.whole_sweep import run_sweep

    listener = listener_given(on_report)
    place, cluster = place_given(output, "output"), text_given(address, "address", _CLUSTER)
    checked = checked_plan(plan_given(plan, set), place, None, cluster)
    name = checked.plan.name if checked.plan is not None else checked.recipe.name
    return _swept(run_sweep(checked, Screen(), listener), name, working_folder(checked.output))


@told_in_python
def load(run: str | Path) -> Run | Swept:
    """What lies in a folder: a training's, a sweep's, or a trial's (SWEEP/trials/0007), that has ended; also by a run's file.

    Raises:
        InputError: it is none of these, or has not ended.
    """
    try:
        folder = local_path(brought(run_of_file(required_place(run, "run"))))
    except BadPlaceError as error:
        raise InputError([error.diagnostic.at(("run",), "Python", 1)]) from None
    if not is_sweep_folder(folder):
        return Run.of_training(explain_run(str(folder), None), folder)
    kept = summary_in(folder)
    names = {each.name for each in fields(Results)}
    found: dict[str, Any] = {"front": [], "hypervolume": None, "reference_point": None, "interrupted": True}
    found |= {key: value for key, value in kept.items() if key in names} | {"amortised": amortised_in(folder)}
    return _swept(Results(trials=TrialRecord.load_all(folder), **found), kept.get("name", folder.name), folder)


@told_in_python
def front(
    sweep: str | Path,
    tracking_uri: str | None = None,
    output: str | Path | None = None,
    *,
    prefer: str | Values | None = None,
) -> Front:
    """Rebuilds the front of a sweep from MLflow alone, with its figures, as `dualsweep front` does.

    `sweep` is its file, its output folder, its experiment's name or id, or its parent run's id. `tracking_uri` is the MLflow
    store, the sweep's own unless given; `output` a folder for the figures; `prefer` the point to recommend, a dict or the text
    of the command's option.

    Raises:
        ReviewError: no such store or sweep.
        InputError: `prefer` is no preference for this sweep, or `output` cannot be written.
    """
    from dualsweep.sweeps.reports.reviewing import rebuild, written_to

    name, place = required_place(sweep, "sweep"), place_given(output, "output")
    tracking_uri = text_given(tracking_uri, "tracking_uri", _STORE)
    folder = local_path(place) if place is not None else written_to(name, tracking_uri)
    found = rebuild(name, tracking_uri, folder, Screen(), preference_given(prefer))
    return Front(found["front"], found["hypervolume"], found["reference_point"], found["recommended"], found["prices"], folder)


def _swept(results: Results, name: str, folder: Path) -> Swept:
    own = {each.name: getattr(results, each.name) for each in fields(Results)}
    return Swept(**own, title=name, folder=folder)
