"""One primal step of a recipe with terms or an estimator of the user's own, on a few samples: their faults are told early."""

from __future__ import annotations

import tempfile
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dualsweep.trainer.checkpoint import CheckpointFolder
from dualsweep.trainer.checks.own_parts import step_parts
from dualsweep.trainer.config.diagnostics import Diagnostic, Keys
from dualsweep.trainer.dual.coordinator import InProcess
from dualsweep.trainer.engine.assembly import Prepared, prepare
from dualsweep.trainer.engine.dual_side import controller_of
from dualsweep.trainer.engine.host import LocalHost
from dualsweep.trainer.recipe.own_part import OwnPart
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.recipe.term_spec import SamplesOf
from dualsweep.trainer.rng import in_turn
from dualsweep.trainer.samplers.rollout import roll_out
from dualsweep.trainer.sources.rollout import RolloutSource

_FEW = 4


def own_step_faults(recipe: Recipe) -> Iterator[Diagnostic]:
    """What a step shows to be wrong with the parts of the user's own; everything is built for it, in this process.

    Nothing is asked where many samples of a model would have to be drawn first.
    """
    parts = step_parts(recipe)
    drawn = [each.term.population(each.value) for each in recipe.terms if each.term.population is not None]
    if not parts or recipe.terms_on("product") or any(isinstance(each, SamplesOf) for each in drawn):
        return
    try:
        with tempfile.TemporaryDirectory() as folder, torch.enable_grad():
            small = _small(recipe)
            prepared = prepare(small, LocalHost(InProcess(controller_of(small)), CheckpointFolder(folder)))
            yield from _odd_values(prepared, parts)
            weights = prepared.problem.mixture_weights(prepared.policy.controller.first().multipliers)
            prepared.primal.begin(0, weights)
            for source in prepared.sources:
                source.begin_step(0, weights).loss(0)
                source.close()
    except Exception as error:
        keys, place = _whose(error, parts)
        yield Diagnostic((*keys, "call"), "must not fail", f"{type(error).__name__}: {error}{place}", "fix it")


def _small(recipe: Recipe) -> Recipe:
    """The recipe with batches of a few samples, whose rewards are taken as they are."""
    size = _FEW * recipe.train.accumulate
    return recipe.model_copy(
        update={
            "train": recipe.train.model_copy(
                update={"batch_size": max(size, recipe.train.floor * (1 + len(recipe.constraints)))}
            ),
            "rollout": recipe.rollout.model_copy(update={"batch_size": size, "normalize": False}),
            "resources": recipe.resources.model_copy(update={"workers": 1, "loaders": 0}),
            "evaluation": recipe.evaluation.model_copy(
                update={"judge": recipe.evaluation.judge.model_copy(update={"epochs": 1})}
            ),
        }
    )


def _odd_values(prepared: Prepared, parts: Mapping[Keys, OwnPart]) -> Iterator[Diagnostic]:
    """Terms on trajectories that give something else than one value for each sample, or one for each step."""
    for source in prepared.sources:
        if not isinstance(source, RolloutSource):
            continue
        noise = torch.randn(_FEW, len(source.steps), *prepared.shape)
        with torch.no_grad():
            path = roll_out(source.forward, source.steps, noise, in_turn(source.prompts, range(_FEW)))
            for column, term in zip(source.columns, source.terms, strict=True):
                keys: Keys = ("constraints", column - 1, "term") if column else ("objective", "term")
                values: Any = term.values(path) if keys in parts else None
                if keys in parts and not (isinstance(values, Tensor) and values.ndim in (1, 2) and len(values) == _FEW):
                    received = f"shape {list(values.shape)}" if isinstance(values, Tensor) else f"a {type(values).__name__}"
                    rule = f"must give one value for each sample, [{_FEW}], or for each sample and step"
                    yield Diagnostic((*keys, "call"), rule, received, "fix its `values`")


def _whose(error: Exception, parts: Mapping[Keys, OwnPart]) -> tuple[Keys, str]:
    """The part in whose module something was raised, and where; else the first of them."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        for keys, part in parts.items():
            if Path(frame.filename).stem == part.call.partition(":")[0].rpartition(".")[2]:
                return keys, f" ({frame.filename}:{frame.lineno})"
    return next(iter(parts)), ""
