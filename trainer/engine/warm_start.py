"""Starting from another run: its weights, averaged weights and optimiser, and the multipliers at which it settled.

What is taken over is what the primal and the multipliers are; what counts steps begins anew: the learning rate's schedule, the
dual rule's memory and its decay, the draws. The optimiser's moments keep their own counts, without which AdamW would take them
for sums that have just begun; its options are this recipe's, and moments of another optimiser are left behind. The pretrained
model, which rewards and divergences are measured against, stays the recipe's own, so that budgets mean what they meant to that
run.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from torch import Tensor

from dualsweep.trainer.checkpoint import Snapshot, locate, read
from dualsweep.trainer.config import yaml_core
from dualsweep.trainer.dual.problem import ConstrainedProblem
from dualsweep.trainer.dual.settling import settled_multipliers
from dualsweep.trainer.dual.state import DualState
from dualsweep.trainer.engine.assembly import Prepared
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.models.provenance import base_of
from dualsweep.trainer.models.schedules import in_words, own_schedule, same_noise
from dualsweep.trainer.recipe.model import Model
from dualsweep.trainer.recipe.start import Start
from dualsweep.trainer.storage import is_local, local_path

Groups = Mapping[str, Mapping[str, Tensor]]
_log = logging.getLogger(__name__)


def begin(prepared: Prepared, start: Start, problem: ConstrainedProblem, state: DualState) -> DualState:
    """Puts the primal where the run that `start` names left it; returns the dual state, at version 0, to begin with.

    Raises:
        TrainingError: there is no such checkpoint, or it is of another model, noise schedule or problem.
    """
    checkpoint = locate(start.place)
    if checkpoint is None:
        raise TrainingError(
            f"start.from must be a run's output or a checkpoint of ours, but got {start.place}, which holds no complete one; "
            "give another, or drop `start`"
        )
    snapshot = read(checkpoint)
    _check_network(checkpoint, snapshot, prepared)
    fits = prepared.primal.start_from(snapshot.groups, snapshot.state["primal"])
    if not fits and prepared.host.rank == 0:
        _log.warning(
            "train.optimizer begins without moments: that of %s has others, or none; its weights are taken over", checkpoint
        )
    if prepared.recipe.dual.rule == "fixed" or prepared.recipe.amortised is not None:
        return state
    first = _multipliers(checkpoint, snapshot, start, problem)
    multipliers = problem.project(np.array([first[name] for name in problem.names]), prepared.recipe.dual.cap)
    return replace(state, multipliers=multipliers, applied=multipliers, previous=multipliers)


def _multipliers(checkpoint: str, snapshot: Snapshot, start: Start, problem: ConstrainedProblem) -> Mapping[str, float]:
    """The multipliers to start from: those given, else those at which the run settled; constraints it lacks need one given."""
    names = [str(each["name"]) for each in yaml_core.read(snapshot.files["recipe.yaml"].decode()).get("constraints", [])]
    if missing := [name for name in problem.names if name not in (*names, *start.multipliers)]:
        raise TrainingError(
            f"start must give a multiplier for each constraint that its run has not, but got none for {', '.join(missing)}, "
            f"where {checkpoint} has {', '.join(names) or 'no constraints'}; write start.multipliers: {{{missing[0]}: 0.0}}"
        )
    if set(problem.names) <= set(start.multipliers):
        return start.multipliers
    settled = settled_multipliers(DualState.from_json(snapshot.state["dual"]))
    return dict(zip(names, settled.tolist(), strict=True)) | start.multipliers


def _check_network(checkpoint: str, snapshot: Snapshot, prepared: Prepared) -> None:
    own, _ = prepared.primal.state()
    if own and "optimizer" not in snapshot.groups:
        raise TrainingError(
            f"start.from must hold the optimiser's state, but got {checkpoint}, which has none: an older version wrote it; "
            "take its weights alone by model.load"
        )
    if fault := _misfit(own, snapshot.groups):
        raise TrainingError(
            f"start.from must hold a model of this recipe's architecture, but {checkpoint} has {fault}; "
            "make `model` and the data's size those of that run, or drop `start`"
        )
    schedule = own_schedule(Model(load=checkpoint))
    if schedule is not None and not same_noise(schedule, prepared.schedule):
        raise TrainingError(
            f"start.from must hold a model of this recipe's noise schedule, {in_words(prepared.schedule)}, but {checkpoint} has "
            f"{in_words(schedule)}; make `schedule` that of that run, or drop `start`"
        )
    model = prepared.recipe.model
    if model.lora is not None and (base := _base(Model(load=checkpoint))) != _base(model):
        raise TrainingError(
            f"start.from must hold an adapter of this recipe's base, {_base(model)}, but got one of {base} in {checkpoint}; "
            "load that base, or drop `start`"
        )


def _misfit(own: Groups, found: Groups) -> str | None:
    """What a checkpoint has that the model has not, in words; the optimiser's state is of the parameters that are averaged."""
    for group in ("weights", "average", "companions"):
        mine, theirs = own.get(group, {}), found.get(group, {})
        for name in [*mine, *theirs]:
            if name not in theirs or name not in mine:
                return f"{'no' if name in mine else 'a'} tensor {name} among its {group}"
            if mine[name].shape != theirs[name].shape:
                return f"{name} of shape {list(theirs[name].shape)}, not {list(mine[name].shape)}, among its {group}"
    return None


def _base(model: Model) -> str:
    """Whose weights lie under an adapter, one word for one place."""
    base = base_of(model)
    return str(local_path(base)) if is_local(base) else base
