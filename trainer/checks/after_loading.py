"""The checks that take the data itself: it is loaded and divided as a run would, before any worker starts."""

from __future__ import annotations

from dualsweep.trainer.checks.before_loading import shape_faults
from dualsweep.trainer.config.diagnostics import Diagnostic
from dualsweep.trainer.config.yaml_file import Document
from dualsweep.trainer.data.faults import BadDataError
from dualsweep.trainer.data.splits import assemble
from dualsweep.trainer.recipe.recipe import Recipe


def check_deep(recipe: Recipe, document: Document) -> list[Diagnostic]:
    """Every problem that loading the data shows, by line; imports the heavy libraries and may use the network.

    Data that fits into memory is read whole, so that a damaged image or a NaN is found here; of larger data only the first.
    """
    if recipe.data is None:
        return []
    try:
        shape = assemble(recipe).examples.shape
    except BadDataError as error:
        faults = list(error.diagnostics)
    else:
        faults = list(shape_faults(recipe, shape))
    return sorted((document.locate(fault) for fault in faults), key=lambda problem: problem.line)
