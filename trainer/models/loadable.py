"""What can be told of a recipe's `load` and `lora` by their files alone, without the heavy libraries."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from trainer.data.faults import Fault
from trainer.documents import Keys, show
from trainer.places import MARKER, is_local, local_path
from trainer.recipe import Model, Recipe
from trainer.schema.model import Lora

#: The networks that are understood, by class.
NETWORKS = ("UNet2DModel", "UNet2DConditionModel", "SD3Transformer2DModel", "DiTTransformer2DModel", "Transformer2DModel")
#: Those of them that take text.
OF_TEXT = ("UNet2DConditionModel", "SD3Transformer2DModel")
#: The file in which diffusers keeps an adapter, at the top of a checkpoint.
ADAPTER = "pytorch_lora_weights.safetensors"
#: The file of an amortised checkpoint with the weights of the embedding of its multipliers.
CONDITIONING = "multipliers.safetensors"
#: The file of a checkpoint with the weights of a composed model's parts, by name.
COMPOSITION = "composition.json"


def model_faults(recipe: Recipe) -> Iterator[Fault]:
    """Every model of the recipe whose local files say that it can't be used as the recipe asks."""
    yield from _faults(("model",), recipe.model)
    for name, model in recipe.models.items():
        yield from _faults(("models", name), model)
        if isinstance(model.lora, Lora):
            received, way_out = "a new one, which changes nothing until it is trained", "give a run's output, or drop it"
            yield Fault(("models", name, "lora"), "must say where a trained adapter lies, for a frozen model", received, way_out)


def may_be_ours(place: str) -> bool:
    """Whether a run or checkpoint of ours lies there, or what lies there can't be told from here."""
    return not is_local(place) or any(complete(local_path(place)))


def _faults(keys: Keys, model: Model) -> Iterator[Fault]:
    if model.load is None:
        return
    if _is_missing(model.load):
        yield Fault((*keys, "load"), "must be there", f"{show(model.load)}, which is not", "give a run, a folder or a hub id")
    elif is_local(model.load) and local_path(model.load).is_dir() and not may_be_ours(model.load):
        yield from _diffusers_faults(keys, model, local_path(model.load))
    elif is_local(model.load):
        yield from _amortised_faults(keys, model, local_path(model.load))
    if isinstance(model.lora, str) and (_is_missing(model.lora) or _holds_no_adapter(model.lora)):
        received = f"{show(model.lora)}, which holds neither"
        way_out = "give the folder that holds the adapter; {rank: 4} starts a new one"
        yield Fault((*keys, "lora"), f"must be a run of ours or hold {ADAPTER}", received, way_out)


def _diffusers_faults(keys: Keys, model: Model, folder: Path) -> Iterator[Fault]:
    places = [folder, folder / "unet", folder / "transformer"]
    found = [_json(each / "config.json").get("_class_name") for each in places]
    network = next((each for each in found if each in NETWORKS), None)
    if network is None:
        received = f"{show(model.load)}, which holds {next((each for each in found if each), 'none')}"
        rule = f"must be a run of ours with a checkpoint, or a diffusers model or pipeline of {', '.join(NETWORKS)}"
        yield Fault((*keys, "load"), rule, received, "give the folder that holds config.json or model_index.json")
        return
    takes_text = network in OF_TEXT
    if takes_text and not model.texts:
        yield Fault((*keys, "prompt"), "must be given for a text-to-image model", "nothing", "write e.g. prompt: a red apple")
    if model.texts and not takes_text:
        yield Fault(
            (*keys, "prompt" if model.prompt is not None else "prompts"),
            "must go with a text-to-image model",
            f"a {network}",
            "drop it",
        )
    if model.label is not None and takes_text:
        yield Fault((*keys, "label"), "must go with a class-conditional model", f"a {network}", "write prompt instead")


def _amortised_faults(keys: Keys, model: Model, folder: Path) -> Iterator[Fault]:
    """What a run of ours on this machine says of the multipliers at which it is to be taken."""
    checkpoints = list(complete(folder))
    recipe = _yaml(checkpoints[-1] / "recipe.yaml") if checkpoints else {}
    names = [str(each["name"]) for each in recipe.get("constraints") or []]
    given, place = model.multipliers, (*keys, "multipliers")
    if checkpoints and not recipe.get("amortised") and given is not None:
        yield Fault(place, "must go with an amortised run", f"them for {show(model.load)}, which is none", "drop them")
    elif recipe.get("amortised") and given is None:
        way_out = f"write e.g. multipliers: {{{', '.join(f'{name}: 0.1' for name in names)}}}"
        yield Fault(place, "must be given for an amortised run", "none", way_out)
    elif recipe.get("amortised") and (unknown := [name for name in given or {} if name not in names]):
        yield Fault(place, f"must be of the run's constraints, {', '.join(names)}", unknown[0], "name one of them")


def _yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return content if isinstance(content, dict) else {}


def _is_missing(place: str) -> bool:
    """A path that can't be a hub id (`owner/name`) and leads nowhere."""
    path = place.startswith(("/", "./", "../", "file://")) or (is_local(place) and place.count("/") > 1)
    return path and not local_path(place).exists()


def _holds_no_adapter(place: str) -> bool:
    if not is_local(place) or not local_path(place).is_dir():
        return False
    own = list(complete(local_path(place)))
    return not any((each / ADAPTER).is_file() for each in [local_path(place), *own])


def complete(folder: Path) -> Iterator[Path]:
    """The checkpoints at or below a folder that were written to the end, those of one run from old to new."""
    for pattern in ("", "step-*", "checkpoints/step-*"):
        for each in sorted(folder.glob(pattern)) if pattern else [folder]:
            if (each / MARKER).is_file():
                yield each


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
