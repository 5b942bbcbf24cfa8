"""The checks that take the data itself: it is loaded and divided as a run would, before any worker starts."""

from __future__ import annotations

from dualsweep.trainer.checks.before_loading import side_faults
from dualsweep.trainer.checks.model_files import may_be_ours
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
        faults = list(_shape_faults(recipe, shape))
    return sorted((document.locate(fault) for fault in faults), key=lambda problem: problem.line)


def _shape_faults(recipe: Recipe, shape: tuple[int, ...]) -> list[Diagnostic]:
    load = recipe.leading.load
    if recipe.leading.call is not None or (load is not None and may_be_ours(load)):
        return []
    if len(shape) != 3:
        kind = "unet" if recipe.leading.unet is not None else "load"
        rule, received = "must go with images [C, H, W]", f"examples of shape {list(shape)}"
        return [Diagnostic(("model", kind), rule, received, "use `model.call` with a model for such data")]
    return list(side_faults(recipe, *shape[1:]))
