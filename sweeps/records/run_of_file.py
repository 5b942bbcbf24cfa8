"""The run that belongs to a recipe's or a sweep's file: where its command writes to unless --output says otherwise."""

from __future__ import annotations

import shlex
from pathlib import Path

from dualsweep.sweeps.records.folder_kind import is_sweep_folder
from dualsweep.trainer.config.diagnostics import Diagnostic, InputError
from dualsweep.trainer.config.uris import is_local, lasting_path, local_path
from dualsweep.trainer.config.wording import show
from dualsweep.trainer.config.yaml_file import load
from dualsweep.trainer.recipe.load import is_sweep

_ENDINGS = (".yaml", ".yml")


def is_yaml_file(place: str) -> bool:
    """Whether a recipe's or a sweep's file is meant, and not a folder or a URI."""
    return place.endswith(_ENDINGS) and is_local(place) and not local_path(place).is_dir()


def run_of_file(place: str) -> str:
    """The output folder of the run that belongs to a YAML file; any other place is returned as it is.

    Of the file its kind and its `name` are read, and nothing else: one that was changed since, or whose data are gone, still has
    its run.

    Raises:
        InputError: there is no such file, it has no name, or no run of its kind is where its command writes to.
    """
    if not is_yaml_file(place):
        return place
    document = load(local_path(place))
    name, sweep = document.data.get("name"), is_sweep(document)
    if not isinstance(name, str) or not name:
        remedy = "write the name that it was run with, or give the run's output folder"
        raise InputError([document.diagnostic(("name",), "must be there to find the run of this file by", show(name), remedy)])
    folder = lasting_path(str(Path("runs") / name))
    if folder.is_dir() and is_sweep_folder(folder) == sweep:
        return str(folder)
    command = shlex.join(["dualsweep", "sweep" if sweep else "train", place])
    kind, other = ("a sweep", "a training") if sweep else ("a training", "a sweep")
    rule = f"must belong to a run, {kind} in {folder} unless --output named another folder"
    received = f"{place}, and there {f'is {other}' if folder.is_dir() else 'is none'}"
    remedy = f"give the output folder that it has, or first: {command}"
    raise InputError([Diagnostic(("RUN",), rule, received, remedy, "command line", 1)])
