"""From a recipe to what a worker trains and evaluates: data, models, terms and sources put together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from diffusers import DDPMScheduler

from dualsweep.trainer.data.splits import Assembled, assemble
from dualsweep.trainer.engine.dual_side import multiplier_policy_of
from dualsweep.trainer.engine.gradient_primal import GradientPrimal
from dualsweep.trainer.engine.host import Host
from dualsweep.trainer.engine.multiplier_policy import MultiplierPolicy
from dualsweep.trainer.engine.primal import Primal
from dualsweep.trainer.engine.room import room_for
from dualsweep.trainer.engine.stated_problem import problem_of
from dualsweep.trainer.engine.weighted_primal import WeightedPrimal
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.evaluation.calibrated_judge import JudgesOfShares
from dualsweep.trainer.evaluation.evaluated import Evaluated
from dualsweep.trainer.evaluation.judge import judge_for
from dualsweep.trainer.evaluation.judge_protocol import Judge
from dualsweep.trainer.feasibility.deciding import Deciding
from dualsweep.trainer.models.build import build, check_shape, compose, shape_of
from dualsweep.trainer.models.encoding import encoded
from dualsweep.trainer.models.frozen import frozen_models
from dualsweep.trainer.models.loading import Library
from dualsweep.trainer.models.predictor import Predictor
from dualsweep.trainer.models.schedules import noise_schedule
from dualsweep.trainer.models.sharding import check_asked, in_shards
from dualsweep.trainer.models.spaces import Space
from dualsweep.trainer.recipe.consistency.multipliers import pools_prompts
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.samplers.registry import SAMPLERS
from dualsweep.trainer.sources.build import build_sources, frozen_names, variants_of
from dualsweep.trainer.terms.context import TermContext


@dataclass(frozen=True)
class Prepared(Evaluated):
    """All that a training needs: what is evaluated at its end, and the recipe and the multipliers that it is trained by."""

    recipe: Recipe
    policy: MultiplierPolicy


def prepare(recipe: Recipe, host: Host, judges: str | None = None) -> Prepared:
    """Loads and builds everything, the same on every worker; `judges` is the folder of trained judges.

    Raises:
        TrainingError: the model, the data or a user's part is unusable.
    """
    data = assemble(recipe) if recipe.data is not None else None
    library = _library(recipe, data)
    space = library.space(recipe.leading, host.device)
    shape = space.coded(data.examples.shape) if data is not None else shape_of(recipe.leading, space)
    schedule = noise_schedule(recipe, shape, space)
    _check_steps(recipe, schedule)
    policy = multiplier_policy_of(recipe)
    primal, frozen = _models(recipe, host, _Diffusion(shape, schedule, space), library, policy)
    del library  # text encoders and networks that no model has
    _check_prompts(recipe, primal.predictor, frozen)
    names = data.examples.class_names if data is not None else ()
    judge = partial(_judge, recipe, data, judges, host.device)
    variants, everything = variants_of(recipe), data.split.examples if data else None
    of_shares = JudgesOfShares(recipe.evaluation.judge, everything, judges, host.device, variants)
    setting = TermContext(
        recipe.seed, recipe.train, recipe.rollout, recipe.product, recipe.evaluation, recipe.normalization_samples, shape,
        schedule, host, policy, primal.predict, frozen, judge, of_shares, names, primal.guided, space,
        primal.predictor.texts, next(((each.column, each.value.to) for each in recipe.terms if each.term.anchors), None),
        primal.predictor.of_examples, primal.predictor.takes_none, primal.together,
    )  # fmt: skip
    with room_for("the encoding of the data", recipe):
        latents = replace(data, examples=encoded(data.examples, space)) if data is not None else None
    with room_for("the preparation of the terms", recipe):
        sources = build_sources(recipe, setting, latents)
    for source in sources:
        primal.train_beside(source.companions())
    problem = problem_of(recipe)
    deciding = Deciding.of(recipe, problem, np.zeros(len(problem.names)))
    return Prepared(
        problem, primal, sources, host, recipe.seed, recipe.evaluation, recipe.sampling, deciding, schedule, shape, space, data,
        variants, judge, recipe, policy,
    )  # fmt: skip


def _library(recipe: Recipe, data: Assembled | None) -> Library:
    """What reads networks, of the classes and captions that the data have."""
    if data is None:
        return Library([], (), recipe.shows_none)
    names, captions = data.examples.class_names, data.examples.captions
    return Library([str(each) for each in names], captions.texts if captions is not None else (), recipe.shows_none)


class _Diffusion(NamedTuple):
    """What is diffused: the shape of a sample, in which space it is, and the noise schedule."""

    shape: tuple[int, ...]
    schedule: DDPMScheduler
    space: Space


def _models(
    recipe: Recipe, host: Host, diffusion: _Diffusion, library: Library, policy: MultiplierPolicy
) -> tuple[Primal, Mapping[str, Predictor]]:
    """The trained model and the frozen ones by name."""
    shape, schedule, space = diffusion
    if recipe.model.compose is not None:
        frozen = frozen_models(recipe, recipe.composed, None, schedule, shape, host.device, space, library)
        return WeightedPrimal(recipe, compose(recipe, frozen), host.device), frozen
    predictor = build(recipe, shape, library)
    frozen = frozen_models(recipe, frozen_names(recipe), predictor, schedule, shape, host.device, space, library)
    if policy.conditions(predictor):  # after the frozen models: `pretrained` is the model as it was
        check_shape(predictor.to(host.device), shape)  # where those are, with which it may share tensors
    if in_shards(recipe):
        from dualsweep.trainer.engine.sharded_primal import ShardedPrimal

        primal = ShardedPrimal(recipe, predictor, host.device, host.rank, host.world)
        check_asked(predictor, shape)
        return primal, frozen
    return GradientPrimal(recipe, predictor, host.device, host.rank, host.world), frozen


def _check_steps(recipe: Recipe, schedule: DDPMScheduler) -> None:
    """Refuses more sampling steps than a loaded model's schedule has, which is known only now."""
    total, steps = schedule.config.num_train_timesteps, recipe.sampling.steps
    sampled = recipe.evaluation.samples or (recipe.monitor and recipe.monitor.samples)
    if sampled and SAMPLERS[recipe.sampling.sampler].on_schedule and steps > total:
        raise TrainingError(
            f"evaluation.sample_steps must be at most the loaded schedule's {total} timesteps, but got {steps}; write "
            f"sample_steps: {total}"
        )


def _check_prompts(recipe: Recipe, predictor: Predictor, frozen: Mapping[str, Predictor]) -> None:
    """The recipe's own are checked with it; these may be of a run that is loaded."""
    if recipe.train.condition_dropout:
        for name, each in {"model": predictor, **frozen}.items():
            _check_dropout(name, each, predictor)
    several = len(predictor.texts) > 1 or predictor.of_examples
    if recipe.dual.rule == "newton" and several and pools_prompts(recipe):
        raise TrainingError(
            f"dual.rule must not be newton with several prompts or classes, but got those of {recipe.model.load}, whose "
            "differences no multiplier moves; write rule: secant, which learns the slope"
        )
    kinds = {"rollout": "trajectories"} | ({"data": "data"} if predictor.of_examples else {})
    others = [each for each in recipe.terms if each.term.source not in kinds]
    if len(predictor.texts) > 1 and others:
        what, remedy = ("classes", "model.label") if predictor.by_label else ("prompts", "model.prompt")
        raise TrainingError(
            f"a model of several {what} must go with terms on {' or '.join(kinds.values())} alone, but got {others[0].term.word} "
            f"with the {len(predictor.texts)} {what} of {recipe.model.load}; write {remedy}"
        )


def _check_dropout(name: str, model: Predictor, trained: Predictor) -> None:
    if model is not trained and not model.of_examples:
        return  # asked the same, whatever an example is shown with
    if not (model.of_examples and model.takes_none):
        what = "always has its class" if model.of_examples else "is given nothing of an example"
        raise TrainingError(
            f"train.condition_dropout must go with a model that knows examples with and without their condition, but {name} "
            f"{what}; drop it, or write model.condition for a network that also knows none"
        )


def _judge(recipe: Recipe, data: Assembled | None, judges: str | None, device: torch.device) -> Judge | None:
    """One judge for all seeds, so that what it measures compares."""
    if data is None:
        raise TrainingError("a judge must have data to be trained on, but the recipe has none; give `data`")
    return judge_for(data.split.examples, recipe.evaluation.judge, 0, judges, device, variants_of(recipe))
