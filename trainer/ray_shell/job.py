"""A training's job: what workers are handed, where it writes, and whose run lies there. Imports no Ray, to answer at once."""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dualsweep.trainer.config.diagnostics import Diagnostic, InputError
from dualsweep.trainer.config.uris import is_local, lasting_path
from dualsweep.trainer.own_files import read_own_at
from dualsweep.trainer.recipe.feasibility import Feasibility
from dualsweep.trainer.recipe.model import EDM
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.result import Result, read_result
from dualsweep.trainer.storage import RESULT, write_files
from dualsweep.trainer.terms.own import WORD
from dualsweep.trainer.trust import trusts_all

#: The file that says whose run lies in a folder.
MARK = "fingerprint"
#: What a worker writes into its log before a training, followed by where that training writes.
TRAINING = "dualsweep: training"


@dataclass(frozen=True)
class Job:
    """What every worker is handed: plain data only, so that it travels to any node."""

    recipe: dict[str, Any]
    output: str
    checkpoints: str
    judges: str
    threads: int
    storage: str
    trust: bool


def job_for(
    recipe: Recipe, output: str, judges: str | None = None, name: str | None = None, storage: str | None = None
) -> Job:  # fmt: skip
    """`output` is a folder or fsspec URI; checkpoints lie beneath it unless the recipe sends them elsewhere.

    There they are called `name`, by default the last part of the output's. `storage` is where Ray Train keeps the state of the
    processes, by default below the output; of an output behind a URI on the machine's own disk, as nothing there outlives the run
    and Ray knows other URIs than fsspec.
    """
    output = str(lasting_path(output)) if is_local(output) else output
    to = recipe.checkpoint.to
    to = str(lasting_path(to)) if to and is_local(to) else to
    # A shared place keeps runs apart by their recipes too: a run must never go on from another's checkpoint.
    own = f"{name or posixpath.basename(output.rstrip('/'))}-{fingerprint(recipe)}"
    checkpoints = posixpath.join(to, own) if to else posixpath.join(output, "checkpoints")
    folder = judges or (posixpath.join(output, "judges") if is_local(output) else "")
    threads = recipe.resources.cpus_per_worker
    state = storage or (posixpath.join(output, "ray") if is_local(output) else str(_own_temporary()))
    return Job(recipe.model_dump(), output, checkpoints, folder, threads, state, trusts_all())


def _own_temporary() -> Path:
    return Path(tempfile.gettempdir()) / f"dualsweep-{os.getuid()}" / "ray"


def fingerprint(recipe: Recipe) -> str:
    """What must be the same for a run to be continued: all that decides its numbers."""
    return _digest(_deciding(recipe))


def _fingerprint_of_0_1(recipe: Recipe) -> str:
    """What 0.1 marked a run of this recipe with: it wrote its own default where None stands since."""
    plain = _deciding(recipe)
    for section, key, default in (("evaluation", "sample_steps", 50), ("rollout", "normalization_samples", 1024)):
        plain[section][key] = default if plain[section][key] is None else plain[section][key]
    return _digest(plain)


#: Keys of sections, with the values at which nothing is other than before there were these keys.
_SINCE_0_1 = (
    ("train", "accumulate", 1), ("train", "checkpointing", False), ("train", "compile", False),
    ("train", "condition_dropout", 0.0), ("train", "offset_noise", 0.0), ("train", "optimizer", "adamw"),
    ("data", "random_flip", False), ("data", "random_crop", 0), ("data", "captions", None), ("data", "attributes", None),
    *(("schedule", key, None) for key in EDM),
)  # fmt: skip


def _deciding(recipe: Recipe) -> dict[str, Any]:
    unasked = {"start"} if recipe.start is None else set()  # runs from before there were these keys go on
    unasked |= {"monitor"} if recipe.monitor is None else set()
    unasked |= {"feasibility"} if recipe.feasibility == Feasibility() else set()
    plain = recipe.model_dump(mode="json", exclude={"resources", "checkpoint"} | unasked)
    for section, key, without in _SINCE_0_1:
        if plain[section] is not None and plain[section][key] == without:
            del plain[section][key]
    holders = [(each, word) for each in (*plain["constraints"], plain["objective"] or {}) for word in (WORD, "share")]
    subsets = [(subset, key) for subset in _subsets(plain) for key in ("captions", "attributes")]
    models = [(model, "condition") for model in (plain["model"], *plain["models"].values())]
    for holder, key in [*holders, *subsets, *models]:
        if holder.get(key) is None:
            holder.pop(key, None)
    return plain


def _subsets(plain: Any) -> Iterator[dict[str, Any]]:
    """The parts of the data that terms name, wherever they stand."""
    if isinstance(plain, list):
        plain = dict(enumerate(plain))
    if isinstance(plain, dict):
        if {"all", "classes", "captions", "indices"} <= plain.keys():
            yield plain
        for below in plain.values():
            yield from _subsets(below)


def _digest(plain: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]


def claim(output: str, recipe: Recipe) -> Result | None:
    """Marks `output` as this recipe's; returns the result where the run there is finished.

    Raises:
        InputError: another recipe's run is there.
    """
    if read_own_at(output, MARK, _mark) is None:
        write_files(output, {MARK: fingerprint(recipe).encode()})
        return None
    return finished(output, recipe)


def finished(output: str, recipe: Recipe) -> Result | None:
    """The result of this recipe's run in `output`, where it has ended; None where there is none, or it goes on.

    Raises:
        InputError: another recipe's run is there.
    """
    mark = read_own_at(output, MARK, _mark)
    if mark is None:
        return None
    if mark not in (fingerprint(recipe), _fingerprint_of_0_1(recipe)):
        rule, remedy = "must be empty or hold a run of the same recipe", "choose another --output, or delete that folder"
        raise InputError([Diagnostic(("--output",), rule, f"{output} with another recipe's run", remedy, "command line", 1)])
    return result_in(output)


def result_in(output: str) -> Result | None:
    """The result of the run in `output`, where it has ended."""
    return read_own_at(output, RESULT, read_result)


def _mark(text: bytes) -> str:
    mark = text.decode("ascii")
    if not re.fullmatch(r"[0-9a-f]{16}", mark):
        raise ValueError(f"a mark must be 16 hexadecimal digits, but got {mark[:32]!r}")
    return mark
