"""What can be told of a recipe's `load` and `lora` by their files alone, without the heavy libraries."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from dualsweep.trainer.config import yaml_core
from dualsweep.trainer.config.diagnostics import Diagnostic, Keys
from dualsweep.trainer.config.wording import show
from dualsweep.trainer.models.weight_files import variants
from dualsweep.trainer.recipe.model import Lora, Model
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.storage import MARKER, is_local, local_path, step_of

#: The networks that are understood, by class.
NETWORKS = ("UNet2DModel", "UNet2DConditionModel", "SD3Transformer2DModel", "DiTTransformer2DModel", "Transformer2DModel")
#: Those of them that take text.
OF_TEXT = ("UNet2DConditionModel", "SD3Transformer2DModel")
#: The parts of a pipeline that are loaded beside its network.
_PARTS = ("vae", "scheduler", "text_encoder", "text_encoder_2", "text_encoder_3", "tokenizer", "tokenizer_2", "tokenizer_3")
#: The file in which diffusers keeps weights.
WEIGHTS = "diffusion_pytorch_model.safetensors"
#: The file in which diffusers keeps an adapter, at the top of a checkpoint.
ADAPTER = "pytorch_lora_weights.safetensors"
#: The file of an amortised checkpoint with the weights of the embedding of its multipliers.
CONDITIONING = "multipliers.safetensors"
#: The file of a checkpoint with the weights of a composed model's parts, by name.
COMPOSITION = "composition.json"


def model_faults(recipe: Recipe) -> Iterator[Diagnostic]:
    """Every model of the recipe whose local files say that it can't be used as the recipe asks."""
    yield from _faults(("model",), recipe.model)
    for name, model in recipe.models.items():
        yield from _faults(("models", name), model)
        if isinstance(model.lora, Lora):
            received, remedy = "a new one, which changes nothing until it is trained", "give a run's output, or drop it"
            yield Diagnostic(
                ("models", name, "lora"), "must say where a trained adapter lies, for a frozen model", received, remedy
            )


def may_be_ours(place: str) -> bool:
    """Whether a run or checkpoint of ours lies there, or what lies there can't be told from here."""
    return not is_local(place) or any(complete(local_path(place)))


def _faults(keys: Keys, model: Model) -> Iterator[Diagnostic]:
    if model.load is None:
        return
    if _is_missing(model.load):
        remedy = "first train what makes it, or give a run, a folder or a hub id"
        yield Diagnostic((*keys, "load"), "must be there", f"{show(model.load)}, which is not", remedy)
    elif is_local(model.load) and local_path(model.load).is_dir() and not may_be_ours(model.load):
        yield from _diffusers_faults(keys, model, local_path(model.load))
    elif is_local(model.load) and local_path(model.load).is_file():
        remedy = f"give its folder, `{local_path(model.load).parent}`"
        yield Diagnostic((*keys, "load"), "must be a run, a folder or a hub id", f"the file {show(model.load)}", remedy)
    elif is_local(model.load):
        yield from _amortised_faults(keys, model, local_path(model.load))
    if isinstance(model.lora, str) and is_local(model.lora) and local_path(model.lora).is_file():
        remedy = f"give its folder, `{local_path(model.lora).parent}`, with the adapter under that name"
        yield Diagnostic((*keys, "lora"), f"must be a run of ours or hold {ADAPTER}", f"the file {show(model.lora)}", remedy)
    elif isinstance(model.lora, str) and (_is_missing(model.lora) or _holds_no_adapter(model.lora)):
        received = f"{show(model.lora)}, which holds neither"
        remedy = "give the folder that holds the adapter; {rank: 4} starts a new one"
        yield Diagnostic((*keys, "lora"), f"must be a run of ours or hold {ADAPTER}", received, remedy)


def _diffusers_faults(keys: Keys, model: Model, folder: Path) -> Iterator[Diagnostic]:
    places = [folder, folder / "unet", folder / "transformer"]
    configs = [read_json(each / "config.json") for each in places]
    class_names = [each.get("_class_name") for each in configs]
    network = next((each for each in class_names if each in NETWORKS), None)
    if network is None:
        received = f"{show(model.load)}, which holds {next((each for each in class_names if each), 'none')}"
        rule = f"must be a run of ours with a checkpoint, or a diffusers model or pipeline of {', '.join(NETWORKS)}"
        yield Diagnostic((*keys, "load"), rule, received, "give the folder that holds config.json or model_index.json")
        return
    for part in _lost_parts(folder):
        received = f"{show(model.load)}, whose model_index.json names {part}/, which is not there"
        yield Diagnostic((*keys, "load"), "must be a whole pipeline", received, "copy that folder too")
    yield from _network_faults(keys, model, places[class_names.index(network)], configs[class_names.index(network)])
    takes_text = network in OF_TEXT
    if model.condition == "captions" and not takes_text:
        remedy = "write condition: labels, or load a text-to-image model"
        yield Diagnostic((*keys, "condition"), "must be of a text-to-image model where it is captions", f"a {network}", remedy)
    if model.condition == "labels" and takes_text:
        remedy = "write condition: captions, for data with captions, or a prompt in its place"
        yield Diagnostic((*keys, "condition"), "must be captions for a text-to-image model", f"labels for a {network}", remedy)
    if takes_text and not model.texts and model.condition is None:
        yield Diagnostic(
            (*keys, "prompt"), "must be given for a text-to-image model", "nothing", "write e.g. prompt: a red apple"
        )
    if model.texts and not takes_text:
        yield Diagnostic(
            (*keys, "prompt" if model.prompt is not None else "prompts"),
            "must go with a text-to-image model",
            f"a {network}",
            "drop it",
        )
    if model.label is not None and takes_text:
        yield Diagnostic((*keys, "label"), "must go with a class-conditional model", f"a {network}", "write prompt instead")


def _lost_parts(folder: Path) -> Iterator[str]:
    """The parts of a pipeline that its index names and its folder lacks; those that may be null there are none."""
    for name, kind in read_json(folder / "model_index.json").items():
        if isinstance(kind, list) and all(kind) and name in _PARTS and not (folder / name).is_dir():
            yield name


def unsupported(config: Mapping[str, Any]) -> str | None:
    """What a network must be given beside sample, time, text or class, as `key value` of its configuration; None for nothing."""
    text = config.get("_class_name") == "UNet2DConditionModel"
    keys = ("addition_embed_type", "class_embed_type", "encoder_hid_dim_type", "num_class_embeds", "time_cond_proj_dim")
    for key in keys if text else ("class_embed_type",):
        if config.get(key) is not None and (key, config[key]) != ("addition_embed_type", "text_time"):
            return f"{key} {config[key]!r}"
    return None


def _network_faults(keys: Keys, model: Model, folder: Path, config: Mapping[str, Any]) -> Iterator[Diagnostic]:
    """What the network's own folder says: an embedding that nothing gives it, or no weights under a name that is looked for."""
    place = (*keys, "load")
    if (odd := unsupported(config)) is not None:
        received = f"{show(model.load)} with {odd}, which is not supported"
        yield Diagnostic(place, "must be a network of (x, t), with a text or a class at most", received, "use another model")
    weight_variants = variants(folder)
    if weight_variants is not None and len(weight_variants) != 1:
        names = sorted(each.name for each in folder.iterdir() if each.name != "config.json")
        received = f"{folder} with {', '.join(names[:6]) or 'no more than its configuration'}"
        remedy = (
            "give a folder that `save_pretrained` wrote" if not weight_variants else f"rename that of one variant to {WEIGHTS}"
        )
        yield Diagnostic(place, f"must hold weights, {WEIGHTS} or one variant of them", received, remedy)


def _amortised_faults(keys: Keys, model: Model, folder: Path) -> Iterator[Diagnostic]:
    """What a run of ours on this machine says of the multipliers at which it is to be taken."""
    checkpoints = list(complete(folder))
    recipe = _yaml(checkpoints[-1] / "recipe.yaml") if checkpoints else {}
    names = [str(each["name"]) for each in recipe.get("constraints") or []]
    given, place = model.multipliers, (*keys, "multipliers")
    if checkpoints and not recipe.get("amortised") and given is not None:
        yield Diagnostic(place, "must go with an amortised run", f"them for {show(model.load)}, which is none", "drop them")
    elif recipe.get("amortised") and given is None:
        remedy = f"write e.g. multipliers: {{{', '.join(f'{name}: 0.1' for name in names)}}}"
        yield Diagnostic(place, "must be given for an amortised run", "none", remedy)
    elif recipe.get("amortised") and (unknown := [name for name in given or {} if name not in names]):
        yield Diagnostic(place, f"must be of the run's constraints, {', '.join(names)}", unknown[0], "name one of them")


def _yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml_core.read(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return content if isinstance(content, dict) else {}


def _is_missing(place: str) -> bool:
    """A path that can't be a hub id (`owner/name`), or is that of a run as we name them, and leads nowhere."""
    path = place.startswith(("/", "./", "../", "file://", "runs/")) or (is_local(place) and place.count("/") > 1)
    return path and not local_path(place).exists()


def _holds_no_adapter(place: str) -> bool:
    if not is_local(place) or not local_path(place).is_dir():
        return False
    own = list(complete(local_path(place)))
    return not any((each / ADAPTER).is_file() for each in [local_path(place), *own])


def complete(folder: Path) -> Iterator[Path]:
    """The checkpoints at or below a folder that were written to the end, those of one run from old to new."""
    if (folder / MARKER).is_file():
        yield folder
    for above in (folder, folder / "checkpoints"):
        for candidate in sorted(above.iterdir()) if above.is_dir() else ():
            if step_of(candidate.name) is not None and (candidate / MARKER).is_file():
                yield candidate


def read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
