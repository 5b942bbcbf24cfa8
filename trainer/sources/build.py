"""The sources of a recipe: its terms, built and put together by what they are evaluated on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module

import numpy as np
import torch
from torch import Tensor

from dualsweep.trainer.checkpoint import locate
from dualsweep.trainer.config.diagnostics import Diagnostic
from dualsweep.trainer.config.import_path import import_callable
from dualsweep.trainer.data.examples import Examples, InMemory
from dualsweep.trainer.data.joined import concatenate
from dualsweep.trainer.data.splits import Assembled
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.evaluation.variants import ALONE, Variants
from dualsweep.trainer.models.provenance import recipe_of
from dualsweep.trainer.recipe.own_part import OwnPart
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.recipe.sampling import Sampling
from dualsweep.trainer.recipe.term_spec import SamplesOf
from dualsweep.trainer.recipe.term_spec import Source as Kind
from dualsweep.trainer.rng import Stream, generator, whose_turn
from dualsweep.trainer.samplers.chain import steps_of
from dualsweep.trainer.samplers.registry import SAMPLERS
from dualsweep.trainer.samplers.sampling import sample
from dualsweep.trainer.sources import estimators
from dualsweep.trainer.sources.augmentation import Augmentation
from dualsweep.trainer.sources.base import Source
from dualsweep.trainer.sources.crops import Crops
from dualsweep.trainer.sources.dual_only import DualOnlySource
from dualsweep.trainer.sources.flips import Flips
from dualsweep.trainer.sources.mixture import MixtureSource, Population
from dualsweep.trainer.sources.mixture_batch import Integers
from dualsweep.trainer.sources.product import ProductSource
from dualsweep.trainer.sources.rollout import Estimator, RolloutSource
from dualsweep.trainer.terms.context import TermContext

#: The dimensions of an image.
_IMAGE = 3


def build_sources(recipe: Recipe, setting: TermContext, data: Assembled | None) -> list[Source]:
    """One source for each kind of draw that the recipe's terms need, in the order of `BUILDERS`."""
    sources: list[Source] = []
    for name, builder in BUILDERS.items():
        if recipe.terms_on(name):
            sources.append(builder(recipe, setting, data))
    return sources


def _data_source(recipe: Recipe, setting: TermContext, data: Assembled | None) -> Source:
    terms = recipe.terms_on("data")
    wanted = [each.term.population(each.value) if each.term.population else None for each in terms]
    examples, pools = _with_samples(recipe, setting, data, [each for each in wanted if isinstance(each, SamplesOf)])
    populations = []
    for named, population in zip(terms, wanted, strict=True):
        if isinstance(population, SamplesOf):
            trained, fresh = (rows[: population.count] for rows in pools[population.model])
            populations.append(Population.samples(trained, fresh))
        elif data is not None:
            populations.append(_population(data, named.column, recipe))
    if examples is None:
        raise ValueError("terms on data must have data or samples, but got neither; give `data`")
    built = [each.term.build(each.value, setting) for each in terms]
    columns = [each.column for each in terms]
    first = {name: int(trained[0]) for name, (trained, _) in pools.items()}
    prompts = _prompts(setting, data, len(examples), first) if setting.of_examples else None
    for fault in change_faults(recipe, setting.shape, setting.space.latent):
        raise TrainingError(f"{fault.key} {fault.sentence}")
    augmentation = _augmentation(recipe, data)
    return MixtureSource(setting, columns, built, populations, examples, recipe.resources.loaders, prompts, augmentation)


def change_faults(recipe: Recipe, shape: Sequence[int], latent: bool) -> Iterator[Diagnostic]:
    """What is asked of draws that data of this shape do not bear; changed latents are not those of a changed image."""
    spec, height_and_width = recipe.data, tuple(shape[1:])
    if spec is not None and recipe.terms_on("data"):
        for key in ("random_flip", "random_crop"):
            if getattr(spec, key) and (latent or len(shape) != _IMAGE):
                received = "latents of an autoencoder" if latent else f"samples of shape {tuple(shape)}"
                yield Diagnostic(
                    ("data", key), "must go with images [C, H, W] that the model sees as they are", received, "drop it"
                )
        if len(shape) == _IMAGE and not latent and spec.random_crop >= min(height_and_width):
            rule = "must be less than the sides of the images, {} x {}, whose borders it reflects".format(*height_and_width)
            yield Diagnostic(("data", "random_crop"), rule, str(spec.random_crop), "lower it")
    if recipe.train.offset_noise and len(shape) != _IMAGE:
        rule = "must go with images or latents [C, H, W], whose channels it shifts"
        yield Diagnostic(("train", "offset_noise"), rule, f"samples of shape {tuple(shape)}", "drop it")


def _augmentation(recipe: Recipe, data: Assembled | None) -> Augmentation | None:
    """What is done to draws of the data, where the recipe asks for that; samples of models stay as they are."""
    spec = recipe.data
    if data is None or spec is None or not (spec.random_flip or spec.random_crop):
        return None
    rows = len(data.examples)
    crops = Crops(recipe.seed, rows, spec.random_crop) if spec.random_crop else None
    return Augmentation(Flips(recipe.seed, rows) if spec.random_flip else None, crops)


def variants_of(recipe: Recipe) -> Variants:
    """What its terms on data are trained on of an image; without such terms the image alone."""
    if recipe.data is None or not recipe.terms_on("data"):
        return ALONE
    return Variants(recipe.data.random_flip, recipe.data.random_crop)


def _prompts(setting: TermContext, data: Assembled | None, count: int, first: Mapping[str, int]) -> Integers:
    """Which class or caption each of `count` examples is given: its own; of samples of frozen models, that which they were asked
    for.

    Raises:
        TrainingError: they are not those of the data, or the model must have one and some example has none.
    """
    names, own = setting.prompts, None
    if data is not None:
        names, own = _own_prompts(setting, data.examples)
    prompts = np.full(count, -1, dtype=np.int64)
    if data is not None and own is not None:
        prompts[: len(data.examples)] = own
    ends = [*sorted(first.values()), count]
    for name, start in first.items():
        if len(setting.frozen[name].texts) == len(names):
            end = min(each for each in ends if each > start)
            prompts[start:end] = whose_turn(len(names), np.arange(end - start))
    if (prompts < 0).any() and not setting.has_unconditional:
        raise TrainingError(
            "a model that always has a class must be given one for every example, but got some of none; take a network that "
            "knows no class as well, or label them"
        )
    return np.where(prompts < 0, len(names), prompts)


def _own_prompts(setting: TermContext, examples: Examples) -> tuple[tuple[str, ...], Integers | None]:
    """The classes or captions of the data, which are those that the model knows, and each example's."""
    if setting.of_examples == "captions":
        captions = examples.captions
        if captions is None or captions.texts != setting.prompts:
            raise TrainingError(
                "a model that is given captions must be trained on data that have them, but got none, or others than it was made "
                "with; write data.captions"
            )
        return captions.texts, captions.of
    names = tuple(map(str, examples.class_names))
    if names != setting.prompts:
        raise TrainingError(
            f"a model that is given classes must be trained on those that it knows, {list(setting.prompts)}, in their order, "
            f"but got {list(names)}; rename the data's"
        )
    return names, examples.labels


def _with_samples(
    recipe: Recipe, setting: TermContext, data: Assembled | None, wanted: Sequence[SamplesOf]
) -> tuple[Examples | None, dict[str, tuple[Integers, Integers]]]:  # fmt: skip
    """The data and the samples that terms ask for, and by model the rows of those to train on and of as many others, for final
    values: terms on one model share its first ones."""
    examples, pools = data.examples if data is not None else None, {}
    for model in dict.fromkeys(each.model for each in wanted):
        count = max(each.count for each in wanted if each.model == model)
        first = len(examples) if examples is not None else 0
        pool = InMemory(torch.cat([_samples(recipe, setting, model, each) for each in (range(count), range(count, 2 * count))]))
        examples = concatenate(examples, pool) if examples is not None else pool
        pools[model] = first + np.arange(count), first + count + np.arange(count)
    return examples, pools


def _population(data: Assembled, column: int, recipe: Recipe) -> Population:
    rows, held_out = data.rows[column], data.held_out_rows[column]
    over = recipe.data.balance if recipe.data is not None and column == 0 else False
    labels, attributes = data.examples.labels, data.examples.attributes
    if isinstance(over, str) and attributes is not None:
        return Population.balanced(rows, held_out, attributes.having({over: True}).astype(np.int64))
    if over is True and labels is not None:
        return Population.balanced(rows, held_out, labels)
    return Population.of(rows, held_out)


def _samples(recipe: Recipe, setting: TermContext, model: str, positions: range) -> Tensor:
    """Samples of a frozen model, drawn once; they depend on the seed, the model's name and their positions alone."""
    seed = int(generator(recipe.seed, Stream.POOL, *_number(model)).integers(2**31))
    sampling = sampling_of(recipe, model)
    sampling = sampling._replace(steps=min(sampling.steps, setting.schedule.config.num_train_timesteps))
    return sample(
        setting.frozen[model], setting.schedule, positions, setting.shape, sampling=sampling, seed=seed,
        batch_size=recipe.evaluation.batch_size,
    )  # fmt: skip


def sampling_of(recipe: Recipe, name: str) -> Sampling:
    """How the frozen model of that name is sampled: as the run that it is loaded from is, else by a sampler of the schedule.

    A run that was aligned along its sampler's chain, or composed, has what it was made for under its own sampler alone.
    """
    model = recipe.models.get(name, recipe.model)
    checkpoint = locate(model.load) if model.load is not None else None
    if checkpoint is not None:
        return recipe_of(checkpoint).sampling
    own = recipe.evaluation.sampler
    return recipe.sampling_by(own if own is not None and SAMPLERS[own].on_schedule else "dpmpp_2m")


def _number(name: str) -> tuple[int]:
    return (int.from_bytes(name.encode()[:7].ljust(7, b"\0"), "little"),)


def _rollout_source(recipe: Recipe, setting: TermContext, _: Assembled | None) -> Source:
    terms, spec = recipe.terms_on("rollout"), recipe.rollout
    built = [each.term.build(each.value, setting) for each in terms]
    estimator = _estimator(spec.gradient)
    try:
        steps = steps_of(setting.schedule, spec.steps, spec.eta)
    except ValueError as error:
        raise TrainingError(str(error)) from error
    return RolloutSource(setting, [each.column for each in terms], built, steps, estimator)


def _estimator(named: str | OwnPart) -> Callable[[RolloutSource, TermContext], Estimator]:
    if isinstance(named, OwnPart):
        return import_callable(named.call)
    found: Callable[[RolloutSource, TermContext], Estimator] = import_module(f"{estimators.__name__}.{named}").Estimator
    return found


def _product_source(recipe: Recipe, setting: TermContext, _: Assembled | None) -> Source:
    terms = recipe.terms_on("product")
    built = [each.term.build(each.value, setting) for each in terms]
    kind = ProductSource if recipe.model.compose is None else DualOnlySource
    return kind(setting, [each.column for each in terms], built)


Builder = Callable[[Recipe, TermContext, Assembled | None], Source]
BUILDERS: Mapping[Kind, Builder] = {"data": _data_source, "rollout": _rollout_source, "product": _product_source}


def frozen_names(recipe: Recipe) -> list[str]:
    """The frozen models that the terms ask for."""
    return [name for each in recipe.terms for name in each.term.models(each.value)]
