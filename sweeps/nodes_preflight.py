"""What must hold on every node of a cluster that is joined, found out on the nodes before anything is trained there."""

from __future__ import annotations

import contextlib
import posixpath
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from rich.console import Console

from dualsweep.cluster.connection import Connection
from dualsweep.cluster.errors import ClusterError
from dualsweep.cluster.nodes import check_answers, check_versions, on_each_node, versions
from dualsweep.cluster.preflight import Check, failures
from dualsweep.sweeps.checking import Checked
from dualsweep.trainer.checks import before_loading
from dualsweep.trainer.config.masking import masked
from dualsweep.trainer.config.uris import STORAGE, lasting_folder
from dualsweep.trainer.config.wording import with_class
from dualsweep.trainer.config.yaml_file import Document
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.storage import filesystem, read_file, write_files

#: What computes, and so must be the same everywhere.
PACKAGES = ("dualsweep", "ray", "torch", "diffusers", "numpy")


@dataclass(frozen=True)
class Found:
    """What one node found: its versions, what is wrong with the recipe's files there, and with the output; "" for nothing."""

    versions: Mapping[str, str]
    files: str
    output: str
    wrote: str


def check_nodes(checked: Checked, connection: Connection, console: Console) -> None:
    """Asks every node of a joined cluster, and prints a line for each question; a cluster of this command's own is this machine.

    Raises:
        ClusterError: what the first question found that failed.
    """
    if connection.started:
        return
    checks = _checks(checked)
    for each in checks:
        console.print(str(each), highlight=False, soft_wrap=True)
    for failed in failures(checks)[:1]:
        raise ClusterError(f"{failed.name}: {failed.rule}", failed.value, failed.remedy)


def _checks(checked: Checked) -> list[Check]:
    place, name = checked.output, f".preflight-{uuid.uuid4().hex[:8]}"
    write_files(place, {name: b"the driver was here"})
    try:
        answers = on_each_node(partial(find, checked.recipe, checked.document, place, name))
        silent = {node: answer for node, answer in answers.items() if isinstance(answer, ClusterError)}
        if silent:
            node, error = next(iter(silent.items()))
            return [Check("nodes", "fail", error.rule, f"{error.received} on {node}", error.remedy)]
        found = {node: answer for node, answer in answers.items() if isinstance(answer, Found)}
        output = {node: each.output or _unseen(place, each.wrote) for node, each in found.items()}
    finally:
        _clear(place, name)
    return [
        check_versions(versions(PACKAGES), {node: each.versions for node, each in found.items()}),
        check_answers(
            "files", "what the recipe names is there on every node", {node: each.files for node, each in found.items()},
            "put it in a folder that all nodes share, or among what travels",
        ),
        check_answers(
            "output", f"{masked(place)} lies where all nodes read and write", output,
            shared_place(),
        ),
    ]  # fmt: skip


def shared_place() -> str:
    """What to do where an output is not seen on every node."""
    in_job = f", or set {STORAGE} to one when the nodes' Ray is started" if lasting_folder() is not None else ""
    return f"say --output with a folder that all nodes share, or an object store's URI{in_job}"


def find(recipe: Recipe, document: Document, place: str, name: str) -> Found:
    """What this node finds: run on each."""
    faults = before_loading.check(recipe, document)
    output, wrote = "", f"{name}-{uuid.uuid4().hex[:8]}"
    try:
        if read_file(place, name) is None:
            output = "what the driver writes is not seen"
        else:
            write_files(place, {wrote: b"a node was here"})
    except Exception as error:  # of whatever file system
        output = f"it can't be written ({with_class(error)})"
    return Found(versions(PACKAGES), str(faults[0]) if faults else "", masked(output), wrote)


def _unseen(place: str, wrote: str) -> str:
    return "" if read_file(place, wrote) is not None else "the driver does not see what is written"


def _clear(place: str, name: str) -> None:
    """Removes what was written to try the output, wherever it was."""
    files, root = filesystem(place)
    for path in files.ls(root, detail=False):
        if posixpath.basename(path).startswith(name):
            with contextlib.suppress(Exception):  # a file that stays does no harm
                files.rm(path)
