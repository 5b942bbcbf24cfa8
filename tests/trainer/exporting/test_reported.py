"""The default call of what is exported gives the rewards, class shares and Fréchet distance that its training reported."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler, DiffusionPipeline, UNet2DModel
from torch import Tensor

from dualsweep.trainer.engine.sample_command import restore
from dualsweep.trainer.evaluation.evidence import Evidence
from dualsweep.trainer.evaluation.metrics import measure
from dualsweep.trainer.exporting.folder import write_pipeline
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.result import Result
from tests.margins import Sampled
from tests.trainer.models.test_build import aligned, brightness, prepared, train
from tests.trainer.recipes import digits

#: Of a difference of two independent figures, in its standard errors, which are themselves estimated.
BOUND = 5.0


def default_call(result: Result, folder: Path, count: int, seed: int) -> Tensor:
    """`count` samples [count, 1, 8, 8] in [-1, 1] of the pipeline of a training, from its own noise."""
    folder.mkdir()
    write_pipeline(restore(str(result.checkpoint)), folder)
    pipeline = DiffusionPipeline.from_pretrained(str(folder), custom_pipeline=str(folder), trust_remote_code=True)
    pipeline.set_progress_bar_config(disable=True)
    drawn: Tensor = pipeline(count, generator=torch.Generator().manual_seed(seed), output_type="pt").images
    return 2 * drawn - 1


def test_class_shares_and_frechet_distance_are_those_that_were_reported(sampled: Sampled, tmp_path: Path) -> None:
    recipe = digits(
        seed=sampled.seed, train={"steps": 60, "batch_size": 32}, schedule={"timesteps": 100},
        evaluation={"samples": 400, "sample_steps": 8, "judge": {"epochs": 3}},
    )  # fmt: skip
    result = train(recipe, tmp_path / "run")
    samples = default_call(result, tmp_path / "out", 400, 1000 + sampled.seed)
    names = {"frechet": "frechet_error"} | {f"share/{digit}": f"share_error/{digit}" for digit in range(10)}
    differences = measured_differences(recipe, result, tmp_path / "run", samples, names)
    sampled.near("differences", differences, 0.0, abs=BOUND)


def measured_differences(
    recipe: Recipe, result: Result, folder: Path, samples: Tensor, names: Mapping[str, str], asked: Any = None
) -> list[float]:  # fmt: skip
    """How far the metrics of samples [N, *shape] are from those that were reported, in their common errors.

    `names` are those of the metrics and of their errors; `asked` [N] are the classes that the samples were asked for.
    """
    run = prepared(recipe, folder)
    assert run.data is not None
    found = measure(Evidence.of(samples, run.data, run.judge(), run.variants, asked), recipe.evaluation.metrics).values
    return [
        (found[f"eval/{name}"] - result.metrics[f"eval/{name}"])
        / float(np.hypot(found[f"eval/{error}"], result.metrics[f"eval/{error}"]))
        for name, error in names.items()
    ]


@pytest.fixture
def unet(tmp_path: Path) -> str:
    return small_unet(tmp_path / "unet")


def small_unet(folder: Path) -> str:
    """An untrained network for images of 8 x 8, in a folder."""
    torch.manual_seed(0)
    network = UNet2DModel(
        sample_size=8, in_channels=1, out_channels=1, block_out_channels=(8,), norm_num_groups=4, layers_per_block=1,
        down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",),
    )  # fmt: skip
    DDPMPipeline(network, DDPMScheduler(50)).save_pretrained(folder)
    return str(folder)


def contrast(x: Tensor) -> Tensor:
    return x.flatten(1).std(1)


def test_rewards_are_those_that_were_reported(sampled: Sampled, unet: str, tmp_path: Path) -> None:
    result = train(rewarded(unet, sampled.seed), tmp_path / "run")
    samples = default_call(result, tmp_path / "out", 512, 1000 + sampled.seed)
    sampled.near("differences", reward_differences(result, samples), 0.0, abs=BOUND)


def rewarded(unet: str, seed: int) -> Recipe:
    """A short alignment of a network to be bright and of little contrast."""
    asked = [{"name": each.__name__, "reward": {"call": f"{each.__module__}:{each.__name__}"}} for each in (brightness, contrast)]
    return aligned(
        {"load": unet}, seed=seed, evaluation={"samples": 0, "loss_draws": 512, "batch_size": 128},
        constraints=[{**asked[0], "at_least": 0.5}, {**asked[1], "at_most": -0.5}],
        train={"steps": 8, "batch_size": 16, "lr": 1e-2}, dual={"step_size": 10.0, "every": 1},
        rollout={"steps": 4, "batch_size": 16, "normalization_samples": 256},
    )  # fmt: skip


def reward_differences(result: Result, samples: Tensor) -> list[float]:
    """How far the rewards of samples [N, 1, 8, 8] are from those that were reported, in their common errors."""
    differences = []
    for reward in (brightness, contrast):
        name, rewards = reward.__name__, reward(samples)
        mean, std = (result.metrics[f"scale/{name}/{word}"] for word in ("mean", "std"))
        theirs, error = (float(rewards.mean()) - mean) / std, float(rewards.std()) / std / len(rewards) ** 0.5
        reported = result.constraints[name]
        differences.append((theirs - reported.value) / np.hypot(error, reported.slack_error))
    return differences
