"""What a recipe's `load` names, as a model: a run or checkpoint of ours, or a diffusers model or pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import diffusers
import torch

from dualsweep.trainer.config.wording import first_line
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.models.labels import captions_in, classes_in, label_condition
from dualsweep.trainer.models.networks import Networks, values_of
from dualsweep.trainer.models.predictor import Condition, Predictor
from dualsweep.trainer.models.prompt_or_class import condition_of
from dualsweep.trainer.models.provenance import bound_of, knows_none, rooted
from dualsweep.trainer.models.spaces import Latents, Pixels, Space
from dualsweep.trainer.models.text import Encoders
from dualsweep.trainer.models.weight_files import variant_of
from dualsweep.trainer.models.whole import whole
from dualsweep.trainer.recipe.model import Model


class Library:
    """Models by what they are loaded from. Networks, text encoders and autoencoders are read once while this object is kept."""

    def __init__(self, classes: Sequence[str] = (), captions: Sequence[str] = (), shows_none: bool = False) -> None:
        """`classes` and `captions` are those of the data, for networks that are given them and have no run of their own that
        names them; `shows_none` says whether the training shows examples without their class.
        """
        self.classes, self.captions, self.shows_none = tuple(classes), tuple(captions), shows_none
        self._networks, self._encoders = Networks(), Encoders()
        self._spaces: dict[str, Space] = {}

    def predictor(self, spec: Model, trained: bool = True) -> Predictor:
        """The model that `spec.load` names, with its adapter and condition; averaged weights of our own checkpoints.

        One that is not `trained` shares its network with all others of the same weights.

        Raises:
            TrainingError: it cannot be loaded, or does not take what the recipe gives it.
        """
        network = self._networks.trained(spec) if trained else self._networks.frozen(spec)
        root, names = rooted(spec), classes_in(spec.load)
        if root.condition == "labels" or names:
            learned = (trained and self.shows_none) or knows_none(spec)
            condition: Condition | None = label_condition(root, network, names or self.classes, learned)
        elif root.load is not None:
            captions = self.captions or captions_in(spec.load)
            condition = condition_of(root, network, pipeline_parts(root.load), self._encoders, captions)
        else:
            condition = None
        predictor, bound = Predictor(network, condition, root.guidance), bound_of(spec)
        return predictor.at(values_of(bound)) if bound is not None and predictor.takes_multipliers else predictor

    def space(self, spec: Model, device: torch.device | None = None) -> Space:
        """The space in which the model's diffusion lives: that of its pipeline's autoencoder, or the data's own."""
        root = rooted(spec)
        parts = pipeline_parts(root.load) if root.load is not None else {}
        if not (parts.get("vae") or [None])[0]:
            return Pixels()
        place = str(root.load)
        if place not in self._spaces:
            self._spaces[place] = _latents(place, parts["vae"][1], device or torch.device("cpu"))
        return self._spaces[place]


def _latents(place: str, kind: str, device: torch.device) -> Latents:
    if kind != "AutoencoderKL":
        raise TrainingError(f"a pipeline's vae must be an AutoencoderKL, but {place} has {kind}; use another model")
    try:
        vae: Any = whole(diffusers.AutoencoderKL, place, subfolder="vae", variant=variant_of(place, "vae"))
    except (OSError, ValueError) as error:
        raise TrainingError(
            f"a pipeline's vae must be readable, but got {first_line(error)} for {place!r}; give a whole pipeline"
        ) from error
    if vae.config.get("latents_mean") is not None:
        raise TrainingError(
            f"a pipeline's vae must scale its latents by one number, but {place} has latents_mean for each channel; "
            "use another model"
        )
    return Latents(vae, device)


def pipeline_parts(place: str) -> dict[str, Any]:
    """The index of a pipeline, each part's library and class by its name; empty where `place` is none."""
    try:
        index = diffusers.DiffusionPipeline.load_config(place)
    except (OSError, ValueError):
        return {}
    return {name: value for name, value in index.items() if isinstance(value, list | tuple)}
