"""The noise predictor and its schedule: built from the recipe, loaded through diffusers, or a user's own module."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler, DDPMScheduler, UNet2DModel
from torch import Tensor, nn

from trainer import recipe as recipes
from trainer.draws import Stream, generator
from trainer.errors import TrainingError
from trainer.imports import import_callable


class Predictor(nn.Module):
    """Any model as one function: x [B, *shape] and t [B] (integers in 0..T-1) to a prediction [B, *shape]."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        output = self.inner(x, t)
        result: Tensor = output.sample if hasattr(output, "sample") else output
        return result


def build(recipe: recipes.Recipe, shape: tuple[int, ...]) -> Predictor:
    """The model of `recipe` for samples of `shape`, with weights that depend on the recipe's seed alone.

    Raises:
        TrainingError: the model can't be loaded, or doesn't map samples of `shape` to predictions of the same shape.
    """
    predictor = build_model(recipe.model, shape, recipe.seed)
    check_shape(predictor, shape)
    return predictor


def build_model(spec: recipes.Model, shape: tuple[int, ...], seed: int) -> Predictor:
    """The model that a recipe names, unchecked."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(generator(seed, Stream.WEIGHTS).integers(2**63)))
        if spec.unet is not None:
            return Predictor(_unet(spec.unet, shape))
        if spec.load is not None:
            return Predictor(_loaded(spec.load))
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


def _loaded(source: str) -> nn.Module:
    """A `UNet2DModel` from a model's directory or hub id, or from the `unet` of a pipeline."""
    errors = []
    for place in ({}, {"subfolder": "unet"}):
        try:
            model: nn.Module = UNet2DModel.from_pretrained(source, use_safetensors=None, **place)
            return model
        except (OSError, ValueError) as error:
            errors.append(str(error).splitlines()[0])
    raise TrainingError(
        f"model.load must be a diffusers UNet2DModel or a pipeline with one, but got {source!r} ({'; '.join(errors)}); "
        "give a directory with config.json and weights, or a hub id that this machine can reach"
    )


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


def shape_of(spec: recipes.Model) -> tuple[int, ...]:
    """The shape of a sample where no data tells it: as the recipe says, else as the loaded model does.

    Raises:
        TrainingError: neither says.
    """
    if spec.shape is not None:
        return tuple(spec.shape)
    config = getattr(_loaded(str(spec.load)), "config", None)
    side = getattr(config, "sample_size", None)
    if side is None:
        raise TrainingError("a model must tell the size of its samples, but got none in its configuration; write model.shape")
    sides = (side, side) if isinstance(side, int) else tuple(side)
    return (int(config.in_channels), *sides)  # type: ignore[union-attr]  # it has a sample size


def noise_schedule(recipe: recipes.Recipe, shape: tuple[int, ...]) -> DDPMScheduler:
    """The schedule of the recipe; without one, the loaded model's own, or the defaults.

    Samples are clipped to [-1, 1] in sampling where they are images; other data have no such range.
    """
    if recipe.schedule is None and (own := own_schedule(recipe.model)) is not None:
        return own
    spec = recipe.schedule or recipes.Schedule()
    return DDPMScheduler(
        num_train_timesteps=spec.timesteps,
        beta_schedule=spec.name,
        prediction_type=spec.prediction,
        clip_sample=len(shape) == 3,
        timestep_spacing="trailing",  # sampling starts from pure noise, the schedule's last step (Lin et al. 2024, §3.3)
    )


def own_schedule(spec: recipes.Model) -> DDPMScheduler | None:
    """The schedule that lies beside a loaded model's weights, if any."""
    if spec.load is None:
        return None
    try:
        return DDPMScheduler.from_pretrained(spec.load, subfolder="scheduler")
    except (OSError, ValueError):
        if (Path(spec.load) / "scheduler_config.json").is_file():
            return DDPMScheduler.from_pretrained(spec.load)
    return None


def sampler_schedule(schedule: DDPMScheduler, sampler: str) -> DDPMScheduler | DDIMScheduler:
    """A fresh scheduler for sampling, `ddim` or `ddpm`, with the training schedule's betas."""
    kind = {"ddim": DDIMScheduler, "ddpm": DDPMScheduler}[sampler]
    known = inspect.signature(kind.__init__).parameters
    config: dict[str, Any] = {key: value for key, value in schedule.config.items() if key in known}
    return kind(**config)
