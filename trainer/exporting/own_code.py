"""Whether a model is a user's own code, which no pipeline can carry. Told before any of it is run."""

from __future__ import annotations

from dualsweep.trainer.checkpoint import locate
from dualsweep.trainer.models.provenance import recipe_of


def own_code(checkpoint: str) -> str | None:
    """The import path by which the model of a checkpoint, or one that it is composed of or started from, is made; None of others.

    Raises:
        TrainingError: a checkpoint has no recipe that this version reads.
    """
    recipe = recipe_of(checkpoint)
    for spec in [recipe.models[name] for name in recipe.composed] or [recipe.model]:
        if spec.call is not None:
            return spec.call
        below = locate(spec.load) if spec.load is not None else None
        if below is not None and (path := own_code(below)) is not None:
            return path
    return None
