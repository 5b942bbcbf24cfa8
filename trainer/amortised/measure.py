"""An amortised network measured anew, at any multipliers, from what its run has stored."""

from __future__ import annotations

import posixpath

import numpy as np

from dualsweep.trainer.amortised.front import FrontPoint
from dualsweep.trainer.amortised.policy import measured_points
from dualsweep.trainer.checkpoint import CheckpointFolder, locate, read
from dualsweep.trainer.dual.coordinator import InProcess
from dualsweep.trainer.dual.problem import Vector
from dualsweep.trainer.engine.assembly import prepare
from dualsweep.trainer.engine.dual_side import controller_of, multiplier_range_of
from dualsweep.trainer.engine.host import LocalHost
from dualsweep.trainer.engine.own_draws import own_draws
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.models.provenance import recipe_of
from dualsweep.trainer.trust import check_all_may_run


def measured_at(run: str, multipliers: Vector) -> list[FrontPoint]:
    """The points of an ended amortised run at other multipliers [n, m], in this process, by the draws of its own.

    Raises:
        TrainingError: `run`, an output or checkpoint, holds none, or names code and is not trusted.
    """
    checkpoint = locate(run)
    recipe = recipe_of(checkpoint) if checkpoint is not None else None
    if checkpoint is None or recipe is None or recipe.amortised is None:
        raise TrainingError(f"a run must be amortised to be measured at multipliers, but got {run}; give its output folder")
    check_all_may_run(checkpoint)
    recipe = recipe_of(checkpoint, trusted=True)
    spread = multiplier_range_of(recipe)
    host = LocalHost(InProcess(controller_of(recipe)), CheckpointFolder(posixpath.dirname(checkpoint)))
    with own_draws(recipe.seed, "preparation"):  # the data of the training
        prepared, snapshot = prepare(recipe, host), read(checkpoint)
    prepared.primal.restore(snapshot.groups, snapshot.state["primal"])
    with prepared.primal.averaged(spread.problem.mixture_weights(np.zeros(spread.size))) as model:
        return measured_points(prepared, model, spread, multipliers)
