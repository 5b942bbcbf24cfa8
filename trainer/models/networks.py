"""Networks by where their weights lie."""

from __future__ import annotations

import copy
import json
import tempfile
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import load as load_tensors
from torch import nn

from dualsweep.trainer.checkpoint import locate
from dualsweep.trainer.checks.model_files import ADAPTER, CONDITIONING, NETWORKS, WEIGHTS
from dualsweep.trainer.config.import_path import import_callable
from dualsweep.trainer.config.wording import first_line
from dualsweep.trainer.dual.problem import Vector
from dualsweep.trainer.engine.dual_side import multiplier_range_of
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.models import adapters
from dualsweep.trainer.models.multiplier_embedding import bind
from dualsweep.trainer.models.predictor import of_network
from dualsweep.trainer.models.provenance import Multipliers, Origin, origin_of, read_in, recipe_of, rooted
from dualsweep.trainer.models.weight_files import variant_of
from dualsweep.trainer.models.whole import whole
from dualsweep.trainer.recipe.model import Lora, Model
from dualsweep.trainer.storage import read_file
from dualsweep.trainer.trust import check_may_run


class Networks:
    """Weights that nothing trains are held once: one network for all that ask for the same, one base under all its adapters."""

    def __init__(self) -> None:
        self._frozen: dict[Origin, nn.Module] = {}

    def frozen(self, spec: Model) -> nn.Module:
        """The network of `spec`, the same one each time; not to be trained."""
        return self._of(origin_of(spec))

    def _of(self, origin: Origin) -> nn.Module:
        if origin not in self._frozen:
            network = self._under(origin) if origin.adapters else _bound(_read(origin.base), origin)
            self._frozen[origin] = network.requires_grad_(False)
        return self._frozen[origin]

    def trained(self, spec: Model) -> nn.Module:
        """The network of `spec` to be trained: with weights of its own, or an adapter of its own on a frozen base."""
        origin = origin_of(spec)
        if not origin.adapters and not isinstance(spec.lora, Lora):
            return _bound(_read(origin.base), origin)
        network = self._under(origin)
        if isinstance(spec.lora, Lora):
            adapters.add(network, spec.lora)
        return network

    def _under(self, origin: Origin) -> nn.Module:
        """The base under the adapters: modules of its own around the base's weights, which are of no multipliers yet."""
        network = sharing(self._of(Origin(origin.base, ())))
        for place in origin.adapters:
            _load_adapter(network, place)
        return _bound(network, origin)


def sharing(network: nn.Module) -> nn.Module:
    """A copy, adapters among it, that holds the same tensors wherever the network's weights are not trained."""
    return copy.deepcopy(network, {id(each): each for each in network.parameters() if not each.requires_grad})


def _read(place: str) -> nn.Module:
    """The network of a checkpoint with its trained weights, or of diffusers."""
    checkpoint = locate(place)
    if checkpoint is None:
        return _pretrained(place)
    for part in ("unet", "transformer"):
        if (config := read_file(checkpoint, f"{part}/config.json")) is not None:
            return _from_files(config, read_in(checkpoint, f"{part}/{WEIGHTS}"))
    model = recipe_of(checkpoint).model
    if model.call is not None:
        check_may_run(checkpoint, model.call)
    return _called(checkpoint, rooted(model))


def _bound(network: nn.Module, origin: Origin) -> nn.Module:
    """The network at the multipliers at which the amortised checkpoints of its origin are taken."""
    for checkpoint, multipliers in origin.bound:
        weights = read_file(checkpoint, CONDITIONING)
        if weights is not None:
            spread = multiplier_range_of(recipe_of(checkpoint))
            bind(network, load_tensors(weights), spread.low, spread.high, values_of(multipliers))
    return network


def values_of(multipliers: Multipliers) -> Vector:
    """The multipliers' numbers [m], in their order."""
    return np.array([value for _, value in multipliers])


def _from_files(config: bytes, weights: bytes) -> nn.Module:
    plain = json.loads(config)
    if (kind := plain.get("_class_name")) not in NETWORKS:
        raise TrainingError(f"a checkpoint's network must be one of {', '.join(NETWORKS)}, but got {kind!r}; take another one")
    network: nn.Module = getattr(diffusers, kind).from_config(plain)
    network.load_state_dict(load_tensors(weights))
    return network


def _called(checkpoint: str, spec: Model) -> nn.Module:
    """A user's own module with the averaged weights, for those parameters that were trained."""
    if spec.call is None:
        raise TrainingError(
            f"a checkpoint must hold a diffusers model or name model.call, but {checkpoint} does neither; it was changed by hand"
        )
    network: nn.Module = import_callable(spec.call)()
    network.load_state_dict(of_network(load_tensors(read_in(checkpoint, "training/weights.safetensors"))))
    average = load_tensors(read_in(checkpoint, "training/average.safetensors"))
    with torch.no_grad():
        for i, parameter in enumerate(each for each in network.parameters() if each.requires_grad):
            parameter.copy_(average[str(i)])
    return network


def _load_adapter(network: nn.Module, place: str) -> None:
    checkpoint = locate(place)
    if checkpoint is None:
        adapters.load(network, Path(place))
        return
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / ADAPTER).write_bytes(read_in(checkpoint, ADAPTER))
        adapters.load(network, Path(folder), place)


def network_config(place: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The configuration of the network at `place`, and the words that find it there.

    Raises:
        TrainingError: there is none, or it is of a class that is not understood.
    """
    errors, away = [], False
    for where in ({}, {"subfolder": "unet"}, {"subfolder": "transformer"}):
        try:  # a hub that was away is not waited for again
            config: dict[str, Any] = diffusers.UNet2DModel.load_config(place, local_files_only=away, **where)
        except (OSError, ValueError) as error:
            away = away or _was_away(error)
            errors.append("the hub cannot be reached, and what it gave before does not hold it" if away else first_line(error))
            continue
        if config.get("_class_name") in NETWORKS:
            return config, where
        errors.append(f"it is a {config.get('_class_name')}")
    raise TrainingError(
        f"a model's `load` must be a run of ours, or a diffusers model or pipeline of {', '.join(NETWORKS)}, but got {place!r} "
        f"({'; '.join(dict.fromkeys(errors))}); give a directory with config.json and weights, or a hub id that this machine can "
        "reach"
    )


def _was_away(error: BaseException | None) -> bool:
    """Whether the hub did not answer: diffusers says of a file of its that there is none."""
    while error is not None and not isinstance(error, LocalEntryNotFoundError):
        error = error.__cause__ or error.__context__
    return error is not None


def _pretrained(place: str) -> nn.Module:
    config, where = network_config(place)
    try:
        kind = getattr(diffusers, config["_class_name"])
        return whole(kind, place, use_safetensors=None, variant=variant_of(place, *where.values()), **where)
    except (OSError, ValueError) as error:
        raise TrainingError(
            f"the weights of a loaded model must be readable, but got {first_line(error)} for {place!r}; fix that folder"
        ) from error
