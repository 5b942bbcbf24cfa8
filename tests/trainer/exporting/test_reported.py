"""The default call of what is exported gives the rewards, class shares and Fréchet distance that its training reported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler, DiffusionPipeline, UNet2DModel
from torch import Tensor

from dualsweep.trainer.engine.sample_command import restore
from dualsweep.trainer.evaluation.evidence import Evidence
from dualsweep.trainer.evaluation.images import Rows
from dualsweep.trainer.evaluation.metrics import measure
from dualsweep.trainer.exporting.folder import write_pipeline
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
    run = prepared(recipe, tmp_path / "run")
    assert run.data is not None
    everything = run.data.split.examples
    rows = Rows(run.data.examples, np.unique(np.concatenate(run.data.rows))), Rows(everything, np.arange(len(everything)))
    samples = default_call(result, tmp_path / "out", 400, 1000 + sampled.seed)
    found = measure(Evidence(samples, *rows, None, run.judge(), everything.class_names), recipe.evaluation.metrics).values
    names = ["frechet", *(f"share/{digit}" for digit in range(10))]
    errors = [name.replace("share", "share_error").replace("frechet", "frechet_error") for name in names]
    differences = [found[f"eval/{name}"] - result.metrics[f"eval/{name}"] for name in names]
    spread = [np.hypot(found[f"eval/{name}"], result.metrics[f"eval/{name}"]) for name in errors]
    sampled.near("differences", np.array(differences) / np.array(spread), 0.0, abs=BOUND)


@pytest.fixture
def unet(tmp_path: Path) -> str:
    torch.manual_seed(0)
    network = UNet2DModel(
        sample_size=8, in_channels=1, out_channels=1, block_out_channels=(8,), norm_num_groups=4, layers_per_block=1,
        down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",),
    )  # fmt: skip
    DDPMPipeline(network, DDPMScheduler(50)).save_pretrained(tmp_path / "unet")
    return str(tmp_path / "unet")


def contrast(x: Tensor) -> Tensor:
    return x.flatten(1).std(1)


def test_rewards_are_those_that_were_reported(sampled: Sampled, unet: str, tmp_path: Path) -> None:
    asked = [{"name": each.__name__, "reward": {"call": f"{each.__module__}:{each.__name__}"}} for each in (brightness, contrast)]
    recipe = aligned(
        {"load": unet}, seed=sampled.seed, evaluation={"samples": 0, "loss_draws": 512, "batch_size": 128},
        constraints=[{**asked[0], "at_least": 0.5}, {**asked[1], "at_most": -0.5}],
        train={"steps": 8, "batch_size": 16, "lr": 1e-2}, dual={"step_size": 10.0, "every": 1},
        rollout={"steps": 4, "batch_size": 16, "normalization_samples": 256},
    )  # fmt: skip
    result = train(recipe, tmp_path / "run")
    samples = default_call(result, tmp_path / "out", 512, 1000 + sampled.seed)
    differences = []
    for reward in (brightness, contrast):
        name, rewards = reward.__name__, reward(samples)
        mean, std = (result.metrics[f"scale/{name}/{word}"] for word in ("mean", "std"))
        theirs, error = (float(rewards.mean()) - mean) / std, float(rewards.std()) / std / len(rewards) ** 0.5
        reported = result.constraints[name]
        differences.append((theirs - reported.value) / np.hypot(error, reported.slack_error))
    sampled.near("differences", differences, 0.0, abs=BOUND)
