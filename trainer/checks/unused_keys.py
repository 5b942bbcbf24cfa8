"""Which keys of a recipe its formulation does not use: they are not shown, and to write one is worth a warning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dualsweep.trainer.config.diagnostics import Diagnostic
from dualsweep.trainer.config.wording import show
from dualsweep.trainer.dual.registry import RULES, rule_of
from dualsweep.trainer.recipe.formulation import SHAPES
from dualsweep.trainer.recipe.own_part import OwnPart
from dualsweep.trainer.recipe.recipe import Recipe, flatten
from dualsweep.trainer.recipe.rollout import BALANCING
from dualsweep.trainer.recipe.source_options import SourceOptions
from dualsweep.trainer.terms.own import OwnTerm

#: Of `rollout`: what a sampler of that name reads.
_OF_SAMPLING = ("steps", "eta")
#: Of `dual`: what says how far multipliers move, what is read although none moves, and what although there is none at all, as
#: steps are counted and told by it.
_OF_MOVING = ("step_size", "gain_warmup", "decay", "warmup", "average", "patience")
_OF_LOOP, _OF_STEPS = ("every", "staleness", "alpha"), ("every",)


def is_unused(key: str, unused: frozenset[str]) -> bool:
    """Whether a dotted key, or one above it, is among those."""
    return any(key == each or key.startswith(f"{each}.") for each in unused)


def unused_keys(recipe: Recipe) -> frozenset[str]:
    """The dotted keys that nothing of this recipe reads; each stands for all below it."""
    return frozenset([*_of_rollout(recipe), *_of_dual(recipe), *_of_training(recipe), *_of_evaluation(recipe)])


def in_use(recipe: Recipe) -> dict[str, Any]:
    """The recipe as dotted keys (`flatten`), without those that nothing of it reads, and without those that have no value."""
    unused = unused_keys(recipe)
    return {key: value for key, value in flatten(recipe).items() if value is not None and not is_unused(key, unused)}


def unused_warnings(recipe: Recipe, written: Mapping[Any, Any]) -> Iterator[Diagnostic]:
    """The unused keys among those that are written."""
    for key in sorted(unused_keys(recipe)):
        value: Any = written
        for word in key.split("."):
            value = value.get(word) if isinstance(value, Mapping) else None
        if value is not None:
            yield Diagnostic(
                tuple(key.split(".")), "should be of use to the recipe", f"{show(value)}, which it ignores", "drop it"
            )


def _of_rollout(recipe: Recipe) -> Iterator[str]:
    spec, sampler = recipe.rollout, recipe.sampling.sampler
    if not recipe.terms_on("product") and sampler != "langevin":
        yield "product"
    if not recipe.terms_on("rollout"):
        if sampler != "rollout":
            yield "rollout"
        else:
            yield from (f"rollout.{key}" for key in type(spec).model_fields if key not in _OF_SAMPLING)
        return
    if not any(each.term.normalised for each in recipe.terms):
        yield from ("rollout.normalize", "rollout.normalization_samples")
    elif not spec.normalize:
        yield "rollout.normalization_samples"
    if isinstance(spec.gradient, OwnPart):
        return  # it may read any of them
    if spec.gradient not in BALANCING:
        yield from ("rollout.flow", "rollout.reference")
    if spec.gradient in ("backpropagation", "dag"):
        yield "rollout.clip_range"
    if spec.gradient != "backpropagation":
        yield "rollout.truncation"
        return
    yield "rollout.updates"
    if spec.truncation.kind != "gaussian":
        yield "rollout.truncation.spread"
    if spec.truncation.kind == "none":
        yield "rollout.truncation.steps"


def _of_dual(recipe: Recipe) -> Iterator[str]:
    if not recipe.constraints or recipe.amortised is not None:
        used = _OF_LOOP if recipe.constraints else _OF_STEPS
        yield from (f"dual.{key}" for key in type(recipe.dual).model_fields if key not in used)
        yield from () if recipe.constraints else ("feasibility",)
        return
    own = rule_of(recipe.dual.rule)
    yield from (f"dual.{key}" for rule in RULES.values() for key in rule.keys if key not in own.keys)
    if not own.second_order:
        yield "dual.trust"
    if recipe.dual.rule == "fixed":
        yield from (f"dual.{key}" for key in _OF_MOVING)
    elif recipe.start is not None:
        yield "dual.start"
    if SHAPES[recipe.formulation].simplex:
        yield from ("dual.cap", "dual.patience", "feasibility")


def _of_training(recipe: Recipe) -> Iterator[str]:
    train = recipe.train
    if recipe.data is not None:
        source, _ = recipe.data.named
        yield from (f"data.{key}" for key in SourceOptions.model_fields if key not in source.options)
    if isinstance(train.optimizer, OwnPart):
        yield "train.weight_decay"
    if train.lr_schedule != "wsd":
        yield "train.lr_cooldown"
    if not recipe.terms_on("data"):
        yield from ("train.batches", "train.floor", "train.constraint_batch", "train.offset_noise", "train.condition_dropout")
        yield from ("data.random_flip", "data.random_crop")
        if not recipe.terms_on("product") and not _asks_own_part(recipe):
            yield from ("train.batch_size", "train.loss_weight", "schedule.p_mean", "schedule.p_std")
    elif all(each.column == 0 for each in recipe.terms_on("data")):
        yield from ("train.batches", "train.floor", "train.constraint_batch")
    elif train.batches == "mixture":
        yield "train.constraint_batch"
    else:
        yield "train.floor"
    if recipe.model.compose is not None:
        yield from (
            f"train.{key}"
            for key in ("optimizer", "lr", "lr_schedule", "lr_cooldown", "lr_warmup", "weight_decay", "clip", "ema")
        )


def _asks_own_part(recipe: Recipe) -> bool:
    """Whether a term or estimator of the user's own is asked, which is given all of `train`."""
    return isinstance(recipe.rollout.gradient, OwnPart) or any(isinstance(each.value, OwnTerm) for each in recipe.terms)


def _of_evaluation(recipe: Recipe) -> Iterator[str]:
    evaluation = recipe.evaluation
    if not evaluation.samples:
        # Not how they are made: `monitor`, samples of frozen models, and `dualsweep sample` and `export` ask for that too.
        yield from ("evaluation.metrics", "evaluation.grid")
    if recipe.data is None:
        yield "evaluation.metrics"
    if recipe.monitor is not None and not recipe.monitor.bands:
        yield "monitor.draws"
    measured = evaluation.samples and evaluation.metrics and recipe.data is not None
    if evaluation.judge.call is not None or not (measured or recipe.terms_on("rollout")):
        yield from ("evaluation.judge.epochs", "evaluation.judge.features")
