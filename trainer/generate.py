"""Samples from a checkpoint: no Ray, no data, only the averaged weights and the schedule that lie in it."""

from __future__ import annotations

import json
import posixpath
import tempfile
from pathlib import Path

import fsspec
import numpy as np
import torch
import yaml
from diffusers import DDPMScheduler, UNet2DModel
from safetensors.torch import load as load_tensors
from torch import Tensor, nn

from trainer.checkpoint import MARKER, CheckpointFolder, Snapshot, read
from trainer.errors import BadInput, Problem, TrainingError
from trainer.evaluation.grid import sample_grid, save_png
from trainer.imports import import_callable
from trainer.models import Predictor
from trainer.recipe import Recipe
from trainer.sampling import sample


def restore(checkpoint: str) -> tuple[Predictor, DDPMScheduler, Recipe, tuple[int, ...]]:
    """The model with its averaged weights, its schedule, the recipe and the shape of a sample.

    Raises:
        TrainingError: `checkpoint` is no complete checkpoint folder or URI.
    """
    snapshot = read(checkpoint)
    recipe = Recipe.model_validate(yaml.safe_load(snapshot.files["recipe.yaml"]))
    predictor = Predictor(_model(snapshot, recipe))
    predictor.eval()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "scheduler_config.json").write_bytes(snapshot.files["scheduler/scheduler_config.json"])
        schedule = DDPMScheduler.from_pretrained(folder)
    return predictor, schedule, recipe, tuple(snapshot.state["shape"])


def _model(snapshot: Snapshot, recipe: Recipe) -> nn.Module:
    if "unet/config.json" in snapshot.files:
        model: nn.Module = UNet2DModel.from_config(json.loads(snapshot.files["unet/config.json"]))
        model.load_state_dict(load_tensors(snapshot.files["unet/diffusion_pytorch_model.safetensors"]))
        return model
    if recipe.model.call is None:
        raise TrainingError(
            "a checkpoint must hold a diffusers model or name model.call, but got neither; it was changed by hand"
        )
    model = import_callable(recipe.model.call)()
    model.load_state_dict(snapshot.groups["weights"])
    trained = [each for each in model.parameters() if each.requires_grad]
    with torch.no_grad():
        for i, parameter in enumerate(trained):
            parameter.copy_(snapshot.groups["average"][str(i)])
    return model


def find_checkpoint(place: str) -> str:
    """The checkpoint folder meant by `place`: itself, or the newest below a run's output or its `checkpoints`.

    Raises:
        BadInput: there is none.
    """
    files, root = fsspec.core.url_to_fs(place)
    if files.exists(posixpath.join(root, MARKER)):
        return place
    for folder in (posixpath.join(place, "checkpoints"), place):
        newest = CheckpointFolder(folder).newest()
        if newest is not None:
            return newest
    rule, way_out = (
        "must be a checkpoint or a run's output folder",
        "give the path that `checkpoint` has in the run's result.json",
    )
    raise BadInput([Problem("command line", 1, "CHECKPOINT", rule, repr(place), way_out)])


def generate(checkpoint: str, count: int, output: Path, *, sampler: str, steps: int, seed: int, batch_size: int = 250) -> Tensor:
    """Writes `count` samples as `samples.npy` [count, *shape] and, where they are images, as PNGs and one grid.

    Raises:
        TrainingError: `checkpoint` is no complete checkpoint.
        ValueError: more steps than the schedule has.
    """
    predictor, schedule, _, shape = restore(checkpoint)
    samples = sample(predictor, schedule, range(count), shape, sampler=sampler, steps=steps, seed=seed, batch_size=batch_size)
    output.mkdir(parents=True, exist_ok=True)
    np.save(output / "samples.npy", samples.numpy())
    if samples.ndim == 4:
        for position, each in enumerate(samples):
            save_png(each, output / f"{position:05d}.png")
        (output / "grid.png").write_bytes(sample_grid(samples[:256]))
    return samples
