"""What a training was trained on: in one small file beside its result, `data.json`; and what a resumed one must find again."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from dualsweep.trainer.data.examples import InMemory, OnDemand
from dualsweep.trainer.data.identity import identity
from dualsweep.trainer.data.readers import FileReader
from dualsweep.trainer.data.splits import Assembled
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.recipe.data import Data

#: Examples that tell one data set from another where all of them would have to be read.
_LOOKED_AT = 256


def description(data: Assembled, asked: Data) -> bytes:
    """The file: the source, its name and what the recipe says of it, the number and shape of examples, a digest of their content,
    and by class how many there are and how many are trained on.

    Raises:
        BadDataError: an example cannot be read.
    """
    split, (source, named) = data.split, asked.named
    examples = split.examples
    labels, names = examples.labels, examples.class_names
    told = {
        "source": source.word,
        "name": named if isinstance(named, str) else source.word,
        "recipe": asked.model_dump(mode="json", exclude_unset=True),
        "examples": len(examples),
        "trained_on": len(split.train),
        "shape": list(examples.shape),
        "digest": identity(examples, _LOOKED_AT),
    }
    if labels is not None:
        told["classes"] = {
            str(name): {"examples": int((labels == label).sum()), "trained_on": int((labels[split.train] == label).sum())}
            for label, name in enumerate(names)
        }
    return json.dumps(told, indent=2).encode()


def division(data: Assembled) -> dict[str, Any]:
    """How many `examples` there are, and a `digest` of all that decides which of them are trained on, and under what: classes,
    captions, rows, and the names and sizes of files. Contents are not read, and where the files lie makes no difference.
    """
    examples = data.examples
    digest = hashlib.sha256(repr((examples.shape, [str(each) for each in examples.class_names])).encode())
    of_captions = None if examples.captions is None else examples.captions.of
    table = None if examples.attributes is None else examples.attributes.table
    for array in (examples.labels, of_captions, table, *data.rows, *data.held_out_rows):
        digest.update(b"none" if array is None else repr(array.shape).encode() + array.tobytes())
    if examples.captions is not None:
        digest.update(json.dumps(examples.captions.texts).encode())
    own = data.split.examples
    reader = own.reader if isinstance(own, InMemory | OnDemand) else None
    if isinstance(reader, FileReader):
        files = list(map(Path, reader.files))
        above = os.path.commonpath([file.parent for file in files])
        digest.update(json.dumps([(os.path.relpath(file, above), file.stat().st_size) for file in files]).encode())
    return {"examples": len(examples), "digest": digest.hexdigest()}


def check_division(before: dict[str, Any] | None, now: dict[str, Any] | None, step: int) -> None:
    """Other data are divided anew, so that what was held out up to `step` would be trained on.

    Raises:
        TrainingError: the data's `division` has changed.
    """
    if before != now:
        were, are = (f"{each['examples']} examples" if each else "none" for each in (before, now))
        raise TrainingError(
            f"a run must go on with the data that it began with, but got others: {were} up to its step {step}, now {are}, with "
            "other files, classes or captions; put the data back, or choose another --output"
        )
