"""The checks that take the data itself: it is loaded and divided as a run would, before any worker starts."""

from __future__ import annotations

import numpy as np

from dualsweep.trainer.checks.before_loading import shape_faults
from dualsweep.trainer.config.diagnostics import Diagnostic
from dualsweep.trainer.data.dataset_info import DatasetInfo, Look, spread_out
from dualsweep.trainer.data.examples import Examples
from dualsweep.trainer.data.faults import BadDataError
from dualsweep.trainer.data.splits import Assembled, assemble
from dualsweep.trainer.recipe.recipe import Recipe

#: Examples that tell what all of them are like.
_LOOKED_AT = 256
_RGB = 3


def loaded(recipe: Recipe) -> tuple[list[Diagnostic], Assembled | None]:
    """What loading the data shows to be wrong, and the data; imports the heavy libraries and may use the network.

    Data that fits into memory is read whole, so that a damaged image or a NaN is found here; of larger data only the first.
    """
    if recipe.data is None:
        return [], None
    try:
        data = assemble(recipe)
    except BadDataError as error:
        return list(error.diagnostics), None
    return list(shape_faults(recipe, data.examples.shape)), data


def info_of(data: Assembled) -> DatasetInfo:
    """What is known of data that has been loaded."""
    examples = data.split.examples
    labels, names = examples.labels, examples.class_names
    counts = None if labels is None else tuple(int((labels == label).sum()) for label in range(len(names)))
    told = examples.attributes
    having = None if told is None else dict(zip(told.names, told.table.sum(0).tolist(), strict=True))
    return DatasetInfo(labels is not None, names, counts, len(examples), examples.shape, look=_look(examples), attributes=having)


def _look(examples: Examples) -> Look:
    seen = examples.fetch(np.array(spread_out(len(examples), _LOOKED_AT)))
    flat = seen.flatten(1)
    grey = seen.ndim == 4 and seen.shape[1] == _RGB and bool((seen == seen[:, :1]).all())
    constant = int((flat.amax(1) == flat.amin(1)).sum()) if flat.shape[1] > 1 else 0
    return Look(examples.shape, len(seen), float(flat.min()), float(flat.max()), grey, len(seen), constant)
