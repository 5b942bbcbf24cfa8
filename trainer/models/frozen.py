"""The frozen models of a recipe: those it names, and the model as it was before training."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import torch
from diffusers import DDPMScheduler

from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.models.build import build_model, check_shape
from dualsweep.trainer.models.loading import Library
from dualsweep.trainer.models.networks import sharing
from dualsweep.trainer.models.predictor import Predictor
from dualsweep.trainer.models.schedules import in_words, own_schedule, same_noise
from dualsweep.trainer.models.sharding import place
from dualsweep.trainer.models.spaces import Space, same
from dualsweep.trainer.recipe.recipe import Recipe

PRETRAINED = "pretrained"


def frozen_models(
    recipe: Recipe,
    names: Iterable[str],
    predictor: Predictor | None,
    schedule: DDPMScheduler,
    shape: tuple[int, ...],
    device: torch.device,
    space: Space,
    library: Library,
) -> dict[str, Predictor]:
    """The models of these names, in evaluation mode and without gradients; `pretrained` is a copy of `predictor` unless given.

    Weights that are the same are held once: of models that differ in their prompts or adapters alone, and of the base under
    the trained model's adapter.

    Raises:
        TrainingError: a model can't be loaded, is of another shape, has another number of prompts, or was trained with another
            noise schedule or latent space.
    """
    models: dict[str, Predictor] = {}
    put = partial(place, device=device, recipe=recipe)
    for name in dict.fromkeys(names):
        if name in recipe.models or predictor is None:
            one = put(build_model(recipe.models[name], shape, recipe.seed, library, trained=False).requires_grad_(False))
            _check_space(name, library.space(recipe.models[name], device), space)
            own = own_schedule(recipe.models[name])
            check_shape(one.under(own or schedule), shape)
            _check_schedule(name, own, schedule)
            if predictor is not None:
                _check_prompts(name, one, predictor)
        else:
            one = Predictor(sharing(predictor.inner), predictor.condition, predictor.guidance).under(schedule)
            one.multipliers = predictor.multipliers
        models[name] = put(one.requires_grad_(False)).eval()
    return models


def _check_prompts(name: str, own: Predictor, predictor: Predictor) -> None:
    """A sample's prompt is found by its place in the list."""
    if len(own.texts) > 1 and len(own.texts) != len(predictor.texts):
        raise TrainingError(
            f"models.{name}.prompts must be as many as those of `model`, {len(predictor.texts)}, whose samples they are for, "
            f"but got {len(own.texts)}; write one for each, or one `prompt` for all"
        )


def _check_space(name: str, own: Space, space: Space) -> None:
    """A point of two latent spaces means two images."""
    if not same(own, space):
        kinds = ["a latent space" if each.latent else "pixels" for each in (own, space)]
        raise TrainingError(
            f"models that are used together must live in one space, but models.{name} has {kinds[0]} where the trained model "
            f"has {'another' if kinds[0] == kinds[1] else kinds[1]}; use models that share one autoencoder"
        )


def _check_schedule(name: str, own: DDPMScheduler | None, schedule: DDPMScheduler) -> None:
    """Predictions at a timestep compare only where both models mean the same noise by it."""
    if own is not None and not same_noise(own, schedule):
        raise TrainingError(
            f"models that are used together must have one noise schedule, but models.{name} has {in_words(own)} where the "
            f"trained model has {in_words(schedule)}; leave `schedule` out, or train one of them again"
        )
