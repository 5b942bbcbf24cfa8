"""`dualsweep sync`: what sweeps have spooled and MLflow does not have yet is delivered to the end."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, NoReturn

from rich.console import Console

from dualsweep.analysis.database import wrong_with_file, wrong_with_writing
from dualsweep.analysis.tracking_uri import VARIABLE
from dualsweep.sweeps.mirrored.driving import check_driven, driving
from dualsweep.sweeps.planning.load import load_plan
from dualsweep.sweeps.studies.storage import StorageError, locked
from dualsweep.sweeps.tracking.delivery import Delivery
from dualsweep.sweeps.tracking.kept_store import in_full
from dualsweep.sweeps.tracking.ledger import FILE, Ledger
from dualsweep.sweeps.tracking.spool import FOLDER
from dualsweep.trainer.config.diagnostics import Diagnostic, InputError
from dualsweep.trainer.config.masking import masked
from dualsweep.trainer.config.wording import first_line
from dualsweep.trainer.own_files import GARBAGE
from dualsweep.trainer.storage import is_local, local_path

#: Seconds without a delivered record after which MLflow is taken to be out of reach, and between two attempts, and two lines.
_PATIENCE, _PAUSE, _EVERY = 60.0, 2.0, 10.0


class Target(NamedTuple):
    """A sweep's output on this machine, and the store and experiment that its points go to."""

    folder: Path
    uri: str
    experiment: str


def sync(name: str | None, output: str | None, console: Console) -> bool:
    """Delivers what is left of a sweep, by its file or output, or of all below `runs/`; whether MLflow has all of it.

    An outage is waited out for a minute without any progress. Of an output behind a URI, a training's too, the driver's files are
    brought there.

    Raises:
        BadPlaceError: nothing of a run is behind the URI, or it can't be reached.
        InputError: there is no such sweep, its store is not known in full, or a command works on it.
    """
    place = name if name is not None and not name.endswith((".yaml", ".yml")) else output
    if place is not None and not is_local(place):
        return _brought(place, name, console)
    return _all(console) if name is None else _synced(_target(name, output), console)


def _brought(place: str, name: str | None, console: Console) -> bool:
    def say(text: str) -> None:
        console.print(text, highlight=False, soft_wrap=True)

    check_driven(place)
    with driving(place, say) as driven:
        own = str(driven.folder)
        named = own if name is None or name == place else name
        # A training spools nothing: the same command logs it.
        done = (named == own and not (driven.folder / FILE).exists()) or _synced(_target(named, own), console)
        there = driven.push()
        if there:
            say(f"{masked(place)} has all that is in {own}")
        return done and there


def _all(console: Console) -> bool:
    """Delivers all below `runs/`; one that can't be keeps no other from it, and is told at the end."""
    folders = sorted(path.parent for path in Path("runs").glob(f"*/{FILE}"))
    if not folders:
        _refuse("must be given where nothing was swept", "no sweep below runs/")
    done, refused = True, list[Diagnostic]()
    for folder in folders:
        try:
            done = _synced(_of_folder(folder), console) and done
        except InputError as error:
            refused += error.diagnostics
    if refused:
        raise InputError(refused)
    return done


def _synced(target: Target, console: Console) -> bool:
    try:
        with locked(target.folder / "study.lock"):
            return _delivered(target, console)
    except StorageError as error:  # a sweep that runs delivers by itself
        held = replace(error.diagnostic, received=f"{target.folder}, held by {error.diagnostic.received}")
        raise InputError([held.at(("SWEEP",), "command line", 1)]) from None


def _target(name: str, output: str | None) -> Target:
    if not name.endswith((".yaml", ".yml")):
        return _of_folder(local_path(name))
    plan = load_plan(name)
    folder = local_path(output) if output is not None else Path("runs") / plan.name
    if not (folder / FILE).exists():
        _refuse("must have been swept", f"{name}, of which nothing is in {folder}")
    return Target(folder, plan.tracking_uri, plan.experiment)


def _of_folder(folder: Path) -> Target:
    if not (folder / FILE).exists():
        _refuse("must be a sweep file or the output folder of a sweep", f"{folder}, where no {FILE} is")
    try:
        kept = json.loads((folder / FILE).read_bytes())
        uri, experiment = str(kept["uri"]), str(kept["experiment"])
    except (*GARBAGE, IsADirectoryError):  # the file is set aside and made anew where the sweep says which store is meant
        _refuse("must be the sweep's file where it is not known what its store has", f"{folder}, whose {FILE} is damaged")
    if (store := in_full(uri)) is None:
        rule = f"must be the sweep's file where its store has a password, which is not kept, and {VARIABLE} is not that store"
        _refuse(rule, f"{folder}, whose store is {uri}")
    return Target(folder, store, experiment)


def _refuse(rule: str, received: str) -> NoReturn:
    raise InputError([Diagnostic(("SWEEP",), rule, received, "name a sweep file or an output folder", "command line", 1)])


def _delivered(target: Target, console: Console) -> bool:
    def say(text: str) -> None:
        console.print(text, highlight=False, soft_wrap=True)

    place = f"MLflow at {masked(target.uri)}"
    if (wrong := wrong_with_file(target.uri) or wrong_with_writing(target.uri)) is not None:
        raise InputError([Diagnostic(("SWEEP",), f"its store {wrong[0]}", *wrong[1:], "command line", 1)])
    ledger = Ledger.open(target.folder, target.uri, target.experiment)
    shown = _Progress(target, ledger, say)
    delivery = Delivery(target.uri, ledger, target.folder / FOLDER, say, shown.moved)
    down = ""
    while True:
        try:
            delivery.connect()
            delivery.deliver()
            say(f"{target.folder}: {place} has all that was spooled")
            return True
        except Exception as error:  # MLflow raises many kinds
            if not down:
                say(f"{target.folder}: {place} cannot be written to ({first_line(error)}); trying for {_PATIENCE:.0f} s more")
            down = first_line(error)
        if time.monotonic() - shown.last > _PATIENCE:
            left = delivery.waiting()
            say(f"{target.folder}: {left} records were not delivered to {place} ({down}); the same command again goes on")
            return False
        time.sleep(_PAUSE)


class _Progress:
    """A line now and then: how much of the spool's bytes MLflow has, and how long the rest will take."""

    def __init__(self, target: Target, ledger: Ledger, say: Callable[[str], None]) -> None:
        self._target, self._ledger, self._say = target, ledger, say
        self._began = self._told = self.last = time.monotonic()
        self._before = self._bytes()

    def moved(self) -> None:
        """MLflow has taken more."""
        self.last = time.monotonic()
        if self.last - self._told < _EVERY:
            return
        self._told, have = self.last, self._bytes()
        whole = sum(path.stat().st_size for path in (self._target.folder / FOLDER).glob("*.jsonl"))
        left = (whole - have) * (self.last - self._began) / max(1, have - self._before)
        self._say(f"{self._target.folder}: {100 * have / max(1, whole):.0f} % delivered, about {left / 60:.0f} min left")

    def _bytes(self) -> int:
        return sum(entry.offset for entry in self._ledger.runs.values())
