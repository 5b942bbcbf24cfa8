"""What examples are, as one digest: equal for equal data, and another where anything of them changed."""

from __future__ import annotations

import hashlib

import numpy as np

from dualsweep.trainer.data.dataset_info import spread_out
from dualsweep.trainer.data.examples import Examples, OnDemand
from dualsweep.trainer.data.readers import Identified

_CHUNK = 256


def identity(examples: Examples, most: int | None = None) -> str:
    """A digest of the examples' content, or of what their reader says of its files, where there are too many to be read through.

    With `most`, of no more than so many of them, spread out evenly, where they are not in memory and their reader says nothing.
    Labels are no part of it.

    Raises:
        BadDataError: an example cannot be read.
    """
    digest = hashlib.sha256(repr((len(examples), examples.shape)).encode())
    rows = np.arange(len(examples))
    if isinstance(examples, OnDemand):
        if isinstance(examples.reader, Identified):
            digest.update(examples.reader.identity().encode())
            return digest.hexdigest()
        rows = rows if most is None else np.array(spread_out(len(examples), most))
    for start in range(0, len(rows), _CHUNK):
        digest.update(examples.fetch(rows[start : start + _CHUNK]).contiguous().numpy().data)
    return digest.hexdigest()
