"""The noise predictor: built from the recipe, loaded through diffusers, or a user's own module."""

from __future__ import annotations

import json
from collections.abc import Mapping

import diffusers
import torch
from torch import Tensor, nn

from dualsweep.trainer.checkpoint import locate
from dualsweep.trainer.checks.model_files import COMPOSITION
from dualsweep.trainer.config.import_path import import_callable
from dualsweep.trainer.errors import BadPartError, TrainingError
from dualsweep.trainer.memory import ran_out
from dualsweep.trainer.models.composed import Composed
from dualsweep.trainer.models.labels import label_condition
from dualsweep.trainer.models.loading import Library
from dualsweep.trainer.models.networks import network_config
from dualsweep.trainer.models.predictor import Predictor
from dualsweep.trainer.models.provenance import recipe_of
from dualsweep.trainer.models.schedules import noise_schedule
from dualsweep.trainer.models.spaces import Space
from dualsweep.trainer.recipe.model import Model, UNet
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.rng import Stream, generator, in_turn
from dualsweep.trainer.storage import read_file
from dualsweep.trainer.trust import check_may_run


def build(recipe: Recipe, shape: tuple[int, ...], library: Library | None = None) -> Predictor:
    """The model of `recipe` for samples of `shape`, with weights that depend on the recipe's seed alone.

    Raises:
        TrainingError: the model can't be loaded, or doesn't map samples of `shape` to predictions of the same shape.
    """
    predictor = build_model(recipe.model, shape, recipe.seed, library or Library()).under(noise_schedule(recipe, shape))
    check_shape(predictor, shape)
    return predictor


def build_model(
    spec: Model, shape: tuple[int, ...], seed: int, library: Library, trained: bool = True
) -> Predictor:  # fmt: skip
    """The model that a recipe names, unchecked."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(generator(seed, Stream.WEIGHTS).integers(2**63)))
        if spec.unet is not None:
            network = _unet(spec.unet, shape, len(library.classes) if spec.condition is not None else 0)
            return _conditioned(spec, network, library)
        if spec.load is not None:
            return _composed(spec, library) or library.predictor(spec, trained)
        return _conditioned(spec, _called(str(spec.call)), library)


def _conditioned(spec: Model, network: nn.Module, library: Library) -> Predictor:
    """A new network, given the class of every example where the recipe asks for that; a user's own may know none already."""
    if spec.condition is None:
        return Predictor(network)
    learned = library.shows_none or spec.call is not None
    return Predictor(network, label_condition(spec, network, library.classes, learned), spec.guidance)


def compose(recipe: Recipe, parts: Mapping[str, Predictor]) -> Composed:
    """The composed model of a recipe, of these of its `models`, with equal weights."""
    spec = recipe.model.compose
    assert spec is not None
    base = parts[spec.base] if spec.base is not None else None
    return Composed({name: parts[name] for name in spec.of}, base, spec.guidance)


def _composed(spec: Model, library: Library) -> Composed | None:
    """The composed model that a run of ours left, with the weights that it came to; None where the run is of another kind."""
    checkpoint = locate(str(spec.load))
    shares = read_file(checkpoint, COMPOSITION) if checkpoint is not None else None
    if checkpoint is None or shares is None:
        return None
    for key in ("prompt", "prompts", "negative_prompt", "label", "condition", "guidance", "lora"):
        if getattr(spec, key) is not None:
            raise TrainingError(
                f"a model's `{key}` must go with one network, but {spec.load} is composed of several; drop it, or write it in "
                "that run's recipe"
            )
    recipe = recipe_of(checkpoint)
    shape = tuple(json.loads(read_file(checkpoint, "state.json") or b"{}")["shape"])
    for name in recipe.composed:
        if (path := recipe.models[name].call) is not None:
            check_may_run(checkpoint, path)
    parts = {name: build_model(recipe.models[name], shape, recipe.seed, library, trained=False) for name in recipe.composed}
    return compose(recipe, parts).weigh(json.loads(shares))


def _unet(spec: UNet, shape: tuple[int, ...], classes: int) -> nn.Module:
    """The network, with an embedding for each of so many `classes` and one for none, where there are some."""
    if len(shape) != 3:
        raise TrainingError(f"model.unet must be given images [C, H, W], but got samples of shape {shape}; use model.call")
    levels = len(spec.channels)
    attention = [False] * (levels - 1) + [spec.attention]
    model: nn.Module = diffusers.UNet2DModel(
        sample_size=shape[1:],
        in_channels=shape[0],
        out_channels=shape[0],
        block_out_channels=tuple(spec.channels),
        layers_per_block=spec.layers_per_block,
        down_block_types=tuple("AttnDownBlock2D" if each else "DownBlock2D" for each in attention),
        up_block_types=tuple("AttnUpBlock2D" if each else "UpBlock2D" for each in reversed(attention)),
        norm_num_groups=spec.norm_groups,
        attention_head_dim=min(8, spec.channels[-1]),
        add_attention=spec.attention,
        dropout=spec.dropout,
        num_class_embeds=classes + 1 if classes else None,
    )
    return model


def _called(path: str) -> nn.Module:
    model = import_callable(path)()
    if not isinstance(model, nn.Module):
        raise BadPartError("model.call must return a torch.nn.Module", f"{type(model).__name__} from {path}", "return the module")
    return model


def check_shape(predictor: Predictor, shape: tuple[int, ...]) -> None:
    """One forward pass on two zeros, so that a wrong shape is an error here and not a broadcast in the loss.

    Raises:
        TrainingError: the pass fails, or its output is of another shape.
    """
    predictor.eval()
    device = predictor.device
    try:
        with torch.no_grad():
            x, t = torch.zeros(2, *shape, device=device), torch.zeros(2, dtype=torch.int64, device=device)
            output = predictor(x, t, in_turn(len(predictor.texts), range(2)))
    except Exception as error:
        if ran_out(error):
            raise
        rule = f"the model must accept samples of shape {shape} with timesteps of shape [batch]"
        remedy = "match its channels and size to the data, or wrap what else it must be given in model.call"
        raise BadPartError(rule, f"{type(error).__name__}: {error}", remedy) from error
    finally:
        predictor.train()
    received = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
    if received != (2, *shape):
        rule = f"the model's output must have its input's shape {(2, *shape)}"
        raise BadPartError(rule, str(received), "one prediction for each value of the sample is needed")


def shape_of(spec: Model, space: Space) -> tuple[int, ...]:
    """The shape of the diffusion where no data tells it: as the recipe says, else as the loaded model does.

    Raises:
        TrainingError: neither says.
    """
    if spec.shape is not None:
        return space.coded(tuple(spec.shape))
    if spec.load is not None and (checkpoint := locate(spec.load)) is not None:
        return tuple(json.loads(read_file(checkpoint, "state.json") or b"{}")["shape"])
    config, _ = network_config(str(spec.load))
    side = config.get("sample_size")
    if side is None:
        raise TrainingError("a model must tell the size of its samples, but got none in its configuration; write model.shape")
    sides = (side, side) if isinstance(side, int) else tuple(side)
    return (int(config["in_channels"]), *sides)
