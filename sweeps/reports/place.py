"""Which MLflow store, and what in it, a command means: a sweep by its file, its folder or its experiment, or a training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from dualsweep.analysis.errors import ReviewError
from dualsweep.analysis.tracking_uri import VARIABLE, tracking_uri
from dualsweep.sweeps.records.folder_kind import is_sweep_folder
from dualsweep.sweeps.records.run_of_file import is_yaml_file, run_of_file
from dualsweep.sweeps.tracking.kept_store import in_full
from dualsweep.sweeps.tracking.ledger import FILE as LEDGER
from dualsweep.sweeps.tracking.ledger import SWEEP
from dualsweep.sweeps.tracking.training import LOGGED
from dualsweep.trainer.config.masking import masked
from dualsweep.trainer.config.uris import lasting_path
from dualsweep.trainer.config.yaml_file import load
from dualsweep.trainer.own_files import read_own
from dualsweep.trainer.recipe.load import is_sweep
from dualsweep.trainer.storage import is_local, local_path


class Place(NamedTuple):
    """A store and what is meant in it: a sweep by its name or parent run, or a training's run; empty for the store alone.

    folder      the output folder that a sweep's file was found to belong to
    experiment  the name of the sweep's experiment, where its file says it
    """

    uri: str
    run: str = ""
    is_training: bool = False
    folder: Path | None = None
    experiment: str = ""


def sweep_place(name: str, written: str | None) -> Place:
    """The place of a sweep, from its file, its folder, its experiment or its parent run; `written` is the store, if any.

    A file means the sweep in its own output folder, where that is in the store, else the newest of its experiment.

    Raises:
        ReviewError: a folder that is no sweep's, or whose sweep has not reached MLflow yet, or whose store has a login.
        InputError: the file is no good.
    """
    if is_local(name) and local_path(name).is_dir():
        return _in_folder(local_path(name), written)
    if not is_yaml_file(name):
        return Place(store_of(written), name)
    from dualsweep.sweeps.planning.load import load_plan

    plan = load_plan(name, store=written or None)
    uri = store_of(written) if written else plan.tracking_uri
    folder = lasting_path(str(Path("runs") / plan.name))
    kept = _kept(folder / LEDGER)
    if (kept.get("uri"), kept.get("experiment")) == (masked(uri), plan.experiment) and (run := _sweep_run(kept)):
        return Place(uri, run, folder=folder, experiment=plan.experiment)
    return Place(uri, plan.experiment, experiment=plan.experiment)


def place_of(name: str | None, written: str | None) -> Place:
    """`sweep_place`, also of a training, by its recipe's file or its folder, or of the store alone.

    Raises:
        ReviewError: as `sweep_place`; or the training was not logged to MLflow.
        InputError: the file is no good, or has no run.
    """
    if name is None:
        return Place(store_of(written))
    if is_yaml_file(name) and not is_sweep(load(local_path(name))):
        name = run_of_file(name)
    if is_local(name) and (folder := local_path(name)).is_dir() and not is_sweep_folder(folder):
        return _of_training(folder, written)
    return sweep_place(name, written)


def _in_folder(folder: Path, written: str | None) -> Place:
    kept = _kept(folder / LEDGER)
    if not kept:
        remedy = "Name the output folder of a sweep, its file, or its experiment."
        raise ReviewError(f"A folder must be a sweep's, but got {folder}, where no sweep was tracked. {remedy}")
    run = _sweep_run(kept)
    if run is None:
        remedy = "End it, or go on with it while MLflow answers."
        raise ReviewError(f"A sweep must be in MLflow, but that of {folder} has not reached {kept['uri']} yet. {remedy}")
    return Place(_own_store(folder, kept["uri"], written), run)


def _of_training(folder: Path, written: str | None) -> Place:
    kept = _kept(folder / LOGGED)
    if not kept:
        remedy = "Its command again with --tracking-uri STORE logs it, and trains nothing anew."
        raise ReviewError(f"A run must be in MLflow to be shown, but that of {folder} was not logged to a store. {remedy}")
    return Place(_own_store(folder, kept["uri"], written), kept["run"], is_training=True)


def _own_store(folder: Path, kept: str, written: str | None) -> str:
    store = written or in_full(kept)
    if store is None:
        remedy = f"Name the store with --tracking-uri, or set {VARIABLE} to it."
        raise ReviewError(f"A folder keeps no password, but the store {kept} of {folder} needs one. {remedy}")
    return store_of(store)


def _kept(file: Path) -> dict[str, Any]:
    return read_own(file, _with_store) or {}


def _with_store(text: bytes) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(text)
    return {**plain, "uri": str(plain["uri"])}


def _sweep_run(kept: dict[str, Any]) -> str | None:
    """The id of the parent run that a ledger has."""
    run: str | None = (kept.get("runs", {}).get(SWEEP) or {}).get("run_id")
    return run


def store_of(written: str | None) -> str:
    """The tracking URI that is meant (see `dualsweep.analysis.tracking_uri`)."""
    return tracking_uri(written)
