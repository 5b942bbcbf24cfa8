"""From a recipe to a worker's loop: data, models, terms and sources put together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain

from diffusers import DDPMScheduler

from dualsweep.trainer.data.splits import Assembled, assemble
from dualsweep.trainer.engine.dual_side import multiplier_range_of
from dualsweep.trainer.engine.gradient_primal import Primal
from dualsweep.trainer.engine.host import Host
from dualsweep.trainer.engine.weighted_primal import Composition
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.evaluation.judge import judge_for
from dualsweep.trainer.evaluation.judge_protocol import Judge
from dualsweep.trainer.models.build import build, check_shape, compose, shape_of
from dualsweep.trainer.models.frozen import frozen_models
from dualsweep.trainer.models.loading import Library
from dualsweep.trainer.models.predictor import Predictor
from dualsweep.trainer.models.schedules import noise_schedule
from dualsweep.trainer.models.spaces import Space, encoded
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.samplers.registry import SAMPLERS
from dualsweep.trainer.sources.base import Source
from dualsweep.trainer.sources.build import build_sources, frozen_names
from dualsweep.trainer.terms.context import TermContext


@dataclass(frozen=True)
class Prepared:
    """All that a training needs. `data` is None for a recipe without data; `judges` is the folder of trained judges.

    `shape` is of the diffusion, in its `space`.
    """

    recipe: Recipe
    data: Assembled | None
    shape: tuple[int, ...]
    schedule: DDPMScheduler
    primal: Primal | Composition
    sources: list[Source]
    judges: str | None
    space: Space

    def judge(self) -> Judge | None:
        """The judge of the samples; None for data without two classes."""
        return _judge(self.recipe, self.data, self.judges)


def prepare(recipe: Recipe, host: Host, judges: str | None = None) -> Prepared:
    """Loads and builds everything, the same on every worker.

    Raises:
        TrainingError: the model, the data or a user's part is unusable.
    """
    data = assemble(recipe) if recipe.data is not None else None
    library = Library()
    space = library.space(recipe.leading, host.device)
    shape = space.coded(data.examples.shape) if data is not None else shape_of(recipe.leading, space)
    schedule = noise_schedule(recipe, shape, space)
    _check_steps(recipe, schedule)
    spread = multiplier_range_of(recipe)
    predictor: Predictor
    primal: Primal | Composition
    if recipe.model.compose is not None:
        frozen = frozen_models(recipe, recipe.composed, None, schedule, shape, host.device, space, library)
        predictor = compose(recipe, frozen)
        primal = Composition(recipe, predictor, host.device)
    else:
        predictor = build(recipe, shape, library)
        frozen = frozen_models(recipe, frozen_names(recipe), predictor, schedule, shape, host.device, space, library)
        if spread is not None:  # after the frozen models: `pretrained` is the model as it was
            predictor.condition_on(spread.low, spread.high, recipe.seed)
            check_shape(predictor, shape)
        primal = Primal(recipe, predictor, host.device, host.rank, host.world)
    del library  # text encoders and networks that no model has
    _check_prompts(recipe, predictor)
    names = data.examples.class_names if data is not None else ()
    setting = TermContext(
        recipe.seed, recipe.train, recipe.rollout, recipe.product, recipe.evaluation, recipe.normalization_samples, shape,
        schedule, host, primal.predict, frozen, lambda: _judge(recipe, data, judges), names, primal.guided, space,
        predictor.texts, spread, next(((each.column, each.value.to) for each in recipe.terms if each.term.anchors), None),
    )  # fmt: skip
    latents = replace(data, examples=encoded(data.examples, space)) if data is not None else None
    sources = build_sources(recipe, setting, latents)
    if isinstance(primal, Primal):
        for name, companion in chain.from_iterable(source.companions().items() for source in sources):
            primal.join(name, companion)
    return Prepared(recipe, data, shape, schedule, primal, sources, judges, space)


def _check_steps(recipe: Recipe, schedule: DDPMScheduler) -> None:
    """Those over the recipe's own schedule are checked with it; a loaded model's is known only now."""
    total, steps = schedule.config.num_train_timesteps, recipe.sampling.steps
    if recipe.evaluation.samples and SAMPLERS[recipe.sampling.sampler].on_schedule and steps > total:
        raise TrainingError(
            f"evaluation.sample_steps must be at most the loaded schedule's {total} timesteps, but got {steps}; write "
            f"sample_steps: {total}"
        )


def _check_prompts(recipe: Recipe, predictor: Predictor) -> None:
    """The recipe's own are checked with it; these may be of a run that is loaded."""
    others = [each for each in recipe.terms if each.term.source != "rollout"]
    if len(predictor.texts) > 1 and others:
        raise TrainingError(
            f"a model of several prompts must go with terms on trajectories alone, but got {others[0].term.word} with the "
            f"{len(predictor.texts)} prompts of {recipe.model.load}; write model.prompt"
        )


def _judge(recipe: Recipe, data: Assembled | None, judges: str | None) -> Judge | None:
    """One judge for all seeds, so that what it measures compares."""
    if data is None:
        raise TrainingError("a judge must have data to be trained on, but the recipe has none; give `data`")
    return judge_for(data.split.examples, recipe.evaluation.judge, 0, judges)
