"""Which training's model is meant: by a folder, by a sweep's and a trial of it, or by a run in MLflow."""

from __future__ import annotations

import contextlib
import posixpath
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dualsweep.analysis.errors import ReviewError
from dualsweep.analysis.store import open_client
from dualsweep.sweeps.mirrored.driving import brought_if_mirrored
from dualsweep.sweeps.records.explained import Explained
from dualsweep.sweeps.records.folder_kind import is_sweep_folder, trial_artifacts
from dualsweep.sweeps.records.run_of_file import run_of_file
from dualsweep.sweeps.records.sweep_summary import recommended_folder, said_of, trial_folder
from dualsweep.sweeps.reports.explaining import explain_run
from dualsweep.sweeps.reports.place import store_of
from dualsweep.sweeps.tracking.kept_store import asked_by_variable
from dualsweep.sweeps.tracking.models import FOLDER
from dualsweep.sweeps.tracking.pyfunc import PIPELINE
from dualsweep.trainer.checkpoint import locate
from dualsweep.trainer.config.diagnostics import Diagnostic, InputError
from dualsweep.trainer.config.uris import BadPlaceError, is_local, local_path
from dualsweep.trainer.config.wording import show
from dualsweep.trainer.storage import step_of

if TYPE_CHECKING:
    from mlflow import MlflowClient

_KINDS = ("trial", "replicate", "training")
_NONE = "give a training's or a sweep's output folder, a checkpoint, or the id or name of a run in --tracking-uri"


@dataclass(frozen=True)
class Chosen:
    """A model: its checkpoint, what became of its training where that is known, and what is said of the choice."""

    checkpoint: str
    explained: Explained | None
    said: str | None = None


def choose(run: str, trial: str | None, tracking_uri: str | None) -> Chosen:
    """The training that `run` means.

    `run` is a training's or a sweep's output, a folder or URI, its file, a checkpoint, or the id or name of a run in MLflow. Of a
    sweep the recommended trial is meant unless `trial` says which.

    Raises:
        InputError: it is none of these, has no checkpoint, or the sweep has no such trial.
        ReviewError: there is no such MLflow store.
    """
    copy = brought_if_mirrored(run := run_of_file(run))
    place = local_path(copy) if is_local(copy) else None
    if place is not None and place.is_dir() and is_sweep_folder(place):
        chosen = _in_folder(recommended_folder(place, run) if trial is None else trial_folder(place, trial))
        return replace(chosen, said=chosen.said or said_of(place, run)) if trial is None else chosen
    if trial is not None:
        rule, remedy = "must go with a sweep's output folder", "drop it, or give the folder of the sweep"
        raise InputError([Diagnostic(("--trial",), rule, f"it with {show(run)}", remedy, "command line", 1)])
    if place is None:
        return Chosen(_located(run), None)
    if not is_local(run):
        return _in_folder(place, run.rstrip("/"))
    return _in_folder(place) if place.exists() or trial_artifacts(place) is not None else _in_mlflow(run, tracking_uri)


def _in_folder(folder: Path, place: str | None = None) -> Chosen:
    """A training's folder: the checkpoint that it delivered, else its newest; or one checkpoint.

    Of a run behind a URI `folder` is the copy of the driver's files, and `place` where the checkpoints are. What became of the
    training goes with the checkpoint that it delivered alone.
    """
    place = place or str(folder)
    single = step_of(folder.name) is not None
    above = folder.parent.parent if single and folder.parent.name == "checkpoints" else folder.parent if single else folder
    try:
        explained = explain_run(str(above), None)
    except InputError:
        return Chosen(_located(place), None)
    delivered = explained.result.checkpoint or ""
    name = posixpath.basename(delivered)
    if single:
        return Chosen(_located(place), explained if name == folder.name else None)
    for each in (f"{place}/checkpoints/{name}", delivered) if name else ():  # it may have been moved since
        with contextlib.suppress(InputError):
            return Chosen(_located(each), explained)
    newest = _located(place)
    return Chosen(newest, None, f"the checkpoint that was delivered, {name or 'none'}, is not there: this is {newest}")


def _located(place: str) -> str:
    try:
        checkpoint = locate(place)
    except BadPlaceError as error:
        raise InputError([error.diagnostic.at(("RUN",), "command line", 1)]) from None
    if checkpoint is None:
        raise _refused(place, "train it to a checkpoint first, or give another run")
    return checkpoint


def _in_mlflow(run: str, tracking_uri: str | None) -> Chosen:
    """A run by its id or name, whose checkpoint can be reached from here."""
    try:
        client = open_client(store_of(tracking_uri))
    except ReviewError:
        if tracking_uri is not None:
            raise
        raise _refused(run, _NONE) from None  # what was meant is a folder, most likely
    run_id = _named(client, run)
    explained = explain_run(run_id, tracking_uri)
    with contextlib.suppress(InputError, OSError):
        return Chosen(_located(explained.result.checkpoint or ""), explained)
    remedy = f"its checkpoint {explained.result.checkpoint} cannot be reached from here"
    place = f"{FOLDER}/data/{PIPELINE}"
    if client.list_artifacts(run_id, place):
        command = ["mlflow", "artifacts", "download", "-u", f"runs:/{run_id}/{place}"]
        remedy += f"; what MLflow has is such a pipeline already: {asked_by_variable(command, store_of(tracking_uri))}"
    raise _refused(run, remedy)


def _named(client: MlflowClient, run: str) -> str:
    """The id of a run; of a name, where it is that of one ended training alone."""
    from mlflow.exceptions import MlflowException

    with contextlib.suppress(MlflowException):
        return str(client.get_run(run).info.run_id)
    experiments = [each.experiment_id for each in client.search_experiments()]
    wanted = f"attributes.run_name = '{run}'" if "'" not in run else "attributes.run_name = ''"
    matching = [
        each.info.run_id
        for each in client.search_runs(experiments, wanted, max_results=50)
        if each.data.tags.get("dualsweep.kind") in _KINDS
    ]
    if not matching:
        raise _refused(run, _NONE)
    if len(matching) > 1:
        raise _refused(run, f"{len(matching)} runs have that name: give one by its id, {' or '.join(matching[:4])}")
    return str(matching[0])


def _refused(run: str, remedy: str) -> InputError:
    return InputError([Diagnostic(("RUN",), "must be a training that has a checkpoint", show(run), remedy, "command line", 1)])
