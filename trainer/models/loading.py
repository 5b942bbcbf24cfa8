"""What a recipe's `load` names: a run or checkpoint of ours, or a diffusers model or pipeline.

A checkpoint says by its recipe what it was made from. `rooted` follows that to the diffusers model, the import path or the
recipe's own network at its bottom, and takes the conditions on the way along; weights come from the checkpoint.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import diffusers
import torch
import yaml
from diffusers import AutoencoderKL, DiffusionPipeline, UNet2DModel
from safetensors.torch import load as load_tensors
from torch import nn

from trainer.checkpoint import locate
from trainer.errors import TrainingError
from trainer.imports import import_callable
from trainer.models import adapters
from trainer.models.conditions import condition_of
from trainer.models.loadable import ADAPTER, NETWORKS
from trainer.models.predictor import Predictor
from trainer.models.spaces import Latents, Pixels, Space
from trainer.places import read_file
from trainer.recipe import Model, Recipe

_CONDITIONS = ("prompt", "negative_prompt", "label", "guidance")
_WEIGHTS = "diffusion_pytorch_model.safetensors"


def recipe_of(checkpoint: str) -> Recipe:
    """The recipe that lies in a checkpoint."""
    return Recipe.model_validate(yaml.safe_load(_read(checkpoint, "recipe.yaml")))


def rooted(spec: Model) -> Model:
    """What a chain of checkpoints was made from, with the conditions of its last link."""
    if spec.load is None or (checkpoint := locate(spec.load)) is None:
        return spec
    root = rooted(recipe_of(checkpoint).leading)
    given = {key: getattr(spec, key) for key in _CONDITIONS if getattr(spec, key) is not None}
    if given and root.load is None:
        key = next(iter(given))
        raise TrainingError(f"a model's `{key}` must go with a conditional network, but {spec.load} has none; drop `{key}`")
    return root.model_copy(update=given)


def load_predictor(spec: Model) -> Predictor:
    """The model that `spec.load` names, with its adapter and condition; averaged weights of our own checkpoints.

    Raises:
        TrainingError: it cannot be loaded, or does not take what the recipe gives it.
    """
    network = _network(spec)
    if isinstance(spec.lora, str):
        _load_adapter(network, spec.lora)
    elif spec.lora is not None:
        adapters.add(network, spec.lora)
    root = rooted(spec)
    if root.load is None:
        return Predictor(network)
    return Predictor(network, condition_of(root, network, pipeline_parts(root.load)), root.guidance or 1.0)


def space_of(spec: Model, device: torch.device | None = None) -> Space:
    """The space in which the model's diffusion lives: that of its pipeline's autoencoder, or the data's own."""
    root = rooted(spec)
    parts = pipeline_parts(root.load) if root.load is not None else {}
    if not (parts.get("vae") or [None])[0]:
        return Pixels()
    if parts["vae"][1] != "AutoencoderKL":
        raise TrainingError(
            f"a pipeline's vae must be an AutoencoderKL, but {root.load} has {parts['vae'][1]}; use another model"
        )
    return Latents(AutoencoderKL.from_pretrained(root.load, subfolder="vae"), device or torch.device("cpu"))


def _network(spec: Model) -> nn.Module:
    """The network, with the trained weights of a checkpoint; under the adapter that the checkpoint holds, if any."""
    checkpoint = locate(str(spec.load))
    if checkpoint is None:
        return _pretrained(str(spec.load))
    made_from = recipe_of(checkpoint).model
    for part in ("unet", "transformer"):
        if (config := read_file(checkpoint, f"{part}/config.json")) is not None:
            return _from_files(config, _read(checkpoint, f"{part}/{_WEIGHTS}"))
    if (adapter := read_file(checkpoint, ADAPTER)) is not None:
        base = made_from.model_copy(update={"lora": None})
        # A run that started from a run with an adapter trained that one: its base lies further down.
        while isinstance(base.load, str) and (below := locate(base.load)) and read_file(below, ADAPTER) is not None:
            base = recipe_of(below).model.model_copy(update={"lora": None})
        network = _network(base)
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / ADAPTER).write_bytes(adapter)
            adapters.load(network, Path(folder))
        return network
    return _called(checkpoint, rooted(made_from))


def _from_files(config: bytes, weights: bytes) -> nn.Module:
    plain = json.loads(config)
    network: nn.Module = getattr(diffusers, plain["_class_name"]).from_config(plain)
    network.load_state_dict(load_tensors(weights))
    return network


def _called(checkpoint: str, spec: Model) -> nn.Module:
    """A user's own module with the averaged weights, for those parameters that were trained."""
    if spec.call is None:
        raise TrainingError(
            f"a checkpoint must hold a diffusers model or name model.call, but {checkpoint} does neither; it was changed by hand"
        )
    network: nn.Module = import_callable(spec.call)()
    network.load_state_dict(load_tensors(_read(checkpoint, "training/weights.safetensors")))
    average = load_tensors(_read(checkpoint, "training/average.safetensors"))
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
        (Path(folder) / ADAPTER).write_bytes(_read(checkpoint, ADAPTER))
        adapters.load(network, Path(folder))


def _read(checkpoint: str, name: str) -> bytes:
    content = read_file(checkpoint, name)
    if content is None:
        raise TrainingError(f"a checkpoint must hold {name}, but {checkpoint} has none; take one of a run that wrote it")
    return content


def pipeline_parts(place: str) -> dict[str, Any]:
    """The index of a pipeline, each part's library and class by its name; empty where `place` is none."""
    try:
        index = DiffusionPipeline.load_config(place)
    except (OSError, ValueError):
        return {}
    return {name: value for name, value in index.items() if isinstance(value, list | tuple)}


def network_config(place: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The configuration of the network at `place`, and the words that find it there.

    Raises:
        TrainingError: there is none, or it is of a class that is not understood.
    """
    errors = []
    for where in ({}, {"subfolder": "unet"}, {"subfolder": "transformer"}):
        try:
            config: dict[str, Any] = UNet2DModel.load_config(place, **where)
        except (OSError, ValueError) as error:
            errors.append(str(error).splitlines()[0])
            continue
        if config.get("_class_name") in NETWORKS:
            return config, where
        errors.append(f"it is a {config.get('_class_name')}")
    raise TrainingError(
        f"a model's `load` must be a run of ours, or a diffusers model or pipeline of {', '.join(NETWORKS)}, but got {place!r} "
        f"({'; '.join(dict.fromkeys(errors))}); give a directory with config.json and weights, or a hub id that this machine can "
        "reach"
    )


def _pretrained(place: str) -> nn.Module:
    config, where = network_config(place)
    try:
        network: nn.Module = getattr(diffusers, config["_class_name"]).from_pretrained(place, use_safetensors=None, **where)
    except (OSError, ValueError) as error:
        raise TrainingError(
            f"the weights of a loaded model must be readable, but got {str(error).splitlines()[0]} for {place!r}; "
            "mend that folder"
        ) from error
    return network
