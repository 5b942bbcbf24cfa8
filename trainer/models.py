"""The noise predictor and its schedule: built from the recipe, loaded through diffusers, or a user's own module."""

from __future__ import annotations

import inspect
import json
from typing import Any

import torch
from diffusers import DDIMScheduler, DDPMScheduler, UNet2DModel
from torch import Tensor, nn

from trainer import recipe as recipes
from trainer.checkpoint import locate
from trainer.draws import Stream, generator
from trainer.errors import TrainingError
from trainer.flow import MARK, flow_schedule
from trainer.imports import import_callable
from trainer.loading import load_predictor, network_config, space_of
from trainer.places import read_file
from trainer.predictor import Predictor
from trainer.spaces import Space

__all__ = ["Predictor", "build", "build_model", "check_shape", "noise_schedule", "own_schedule", "sampler_schedule", "shape_of"]

_PREDICTIONS = ("epsilon", "v_prediction")


def build(recipe: recipes.Recipe, shape: tuple[int, ...]) -> Predictor:
    """The model of `recipe` for samples of `shape`, with weights that depend on the recipe's seed alone.

    Raises:
        TrainingError: the model can't be loaded, or doesn't map samples of `shape` to predictions of the same shape.
    """
    predictor = build_model(recipe.model, shape, recipe.seed).under(noise_schedule(recipe, shape))
    check_shape(predictor, shape)
    return predictor


def build_model(spec: recipes.Model, shape: tuple[int, ...], seed: int) -> Predictor:
    """The model that a recipe names, unchecked."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(generator(seed, Stream.WEIGHTS).integers(2**63)))
        if spec.unet is not None:
            return Predictor(_unet(spec.unet, shape))
        if spec.load is not None:
            return load_predictor(spec)
        return Predictor(_called(str(spec.call)))


def _unet(spec: recipes.UNet, shape: tuple[int, ...]) -> nn.Module:
    if len(shape) != 3:
        raise TrainingError(f"model.unet must be given images [C, H, W], but got samples of shape {shape}; use model.call")
    levels = len(spec.channels)
    attention = [False] * (levels - 1) + [spec.attention]
    model: nn.Module = UNet2DModel(
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
    )
    return model


def _called(path: str) -> nn.Module:
    model = import_callable(path)()
    if not isinstance(model, nn.Module):
        raise TrainingError(
            f"model.call must return a torch.nn.Module, but {path} returned {type(model).__name__}; return the module"
        )
    return model


def check_shape(predictor: Predictor, shape: tuple[int, ...]) -> None:
    """One forward pass on two zeros, so that a wrong shape is an error here and not a broadcast in the loss.

    Raises:
        TrainingError: the pass fails, or its output is of another shape.
    """
    predictor.eval()
    try:
        with torch.no_grad():
            output = predictor(torch.zeros(2, *shape), torch.zeros(2, dtype=torch.int64))
    except Exception as error:
        raise TrainingError(
            f"the model must accept samples of shape {shape} with timesteps of shape [batch], but it raised "
            f"{type(error).__name__}: {error}; match its channels and size to the data"
        ) from error
    finally:
        predictor.train()
    found = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
    if found != (2, *shape):
        raise TrainingError(
            f"the model's output must have its input's shape {(2, *shape)}, but got {found}; "
            "one prediction for each value of the sample is needed"
        )


def shape_of(spec: recipes.Model, space: Space | None = None) -> tuple[int, ...]:
    """The shape of the diffusion where no data tells it: as the recipe says, else as the loaded model does.

    Raises:
        TrainingError: neither says.
    """
    if spec.shape is not None:
        return (space or space_of(spec)).coded(tuple(spec.shape))
    if spec.load is not None and (checkpoint := locate(spec.load)) is not None:
        return tuple(json.loads(read_file(checkpoint, "state.json") or b"{}")["shape"])
    config, _ = network_config(str(spec.load))
    side = config.get("sample_size")
    if side is None:
        raise TrainingError("a model must tell the size of its samples, but got none in its configuration; write model.shape")
    sides = (side, side) if isinstance(side, int) else tuple(side)
    return (int(config["in_channels"]), *sides)


def noise_schedule(recipe: recipes.Recipe, shape: tuple[int, ...], space: Space | None = None) -> DDPMScheduler:
    """The schedule of the recipe; without one, the loaded model's own, or the defaults.

    Samples are clipped to [-1, 1] in sampling where they are images; latents and other data have no such range.
    """
    latent = space is not None and space.latent
    if recipe.schedule is None and (own := own_schedule(recipe.model)) is not None:
        return DDPMScheduler.from_config(own.config, clip_sample=False) if latent else own
    spec = recipe.schedule or recipes.Schedule()
    _check_prediction(recipe.model, spec)
    clip = len(shape) == 3 and not latent
    if spec.prediction == "flow":
        return flow_schedule(spec.timesteps, spec.shift or 1.0, clip)
    return DDPMScheduler(
        num_train_timesteps=spec.timesteps,
        beta_schedule=spec.name or "squaredcos_cap_v2",
        prediction_type=spec.prediction,
        clip_sample=clip,
        timestep_spacing="trailing",  # sampling starts from pure noise, the schedule's last step (Lin et al. 2024, §3.3)
    )


def _check_prediction(model: recipes.Model, spec: recipes.Schedule) -> None:
    """Betas may be written anew; what a trained network predicts is what it is."""
    config = _schedule_config(model.load) if model.load is not None else None
    if config is None:
        return
    own = "flow" if _of_flow(config) else config.get("prediction_type", "epsilon")
    if own != spec.prediction:
        raise TrainingError(
            f"schedule.prediction must be what the loaded model predicts, {own}, but got {spec.prediction} for {model.load}; "
            f"write prediction: {own}, or leave `schedule` out"
        )


def _of_flow(config: dict[str, Any]) -> bool:
    return config.get(MARK) is not None or str(config.get("_class_name")).startswith("FlowMatch")


def own_schedule(spec: recipes.Model) -> DDPMScheduler | None:
    """The schedule that lies beside a loaded model's weights, if any.

    Raises:
        TrainingError: it is of a kind that no `DDPMScheduler` stands for.
    """
    if spec.load is None:
        return None
    config = _schedule_config(spec.load)
    if config is None:
        return None
    if _of_flow(config) and MARK not in config and not config.get("use_dynamic_shifting"):
        return flow_schedule(config["num_train_timesteps"], float(config.get("shift") or 1.0), clip_sample=False)
    if config.get("prediction_type", "epsilon") not in _PREDICTIONS or "beta_schedule" not in config:
        raise TrainingError(
            f"a loaded model's schedule must be one of betas that predicts {' or '.join(_PREDICTIONS)}, or flow matching without "
            f"dynamic shifting, but {spec.load} has "
            f"{config.get('_class_name')} with {config.get('prediction_type')}; use another model, or write `schedule`"
        )
    return DDPMScheduler.from_config(config)


def _schedule_config(place: str) -> dict[str, Any] | None:
    checkpoint = locate(place)
    if checkpoint is not None:
        content = read_file(checkpoint, "scheduler/scheduler_config.json")
        return json.loads(content) if content is not None else None
    for where in ({"subfolder": "scheduler"}, {}):
        try:
            config: dict[str, Any] = DDPMScheduler.load_config(place, **where)
            return config
        except (OSError, ValueError):
            continue
    return None


def sampler_schedule(schedule: DDPMScheduler, sampler: str) -> DDPMScheduler | DDIMScheduler:
    """A fresh scheduler for sampling, `ddim` or `ddpm`, with the training schedule's betas."""
    kind = {"ddim": DDIMScheduler, "ddpm": DDPMScheduler}[sampler]
    known = inspect.signature(kind.__init__).parameters
    config: dict[str, Any] = {key: value for key, value in schedule.config.items() if key in known}
    return kind(**config)
