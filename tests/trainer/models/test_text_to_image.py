"""Stable Diffusion XL and 3, tiny and with random weights, against the calls that diffusers' own pipelines make."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    DiffusionPipeline,
    DiTTransformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)  # fmt: skip
from torch import Tensor

from dualsweep.trainer.engine.sample_command import restore
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.models import adapters
from dualsweep.trainer.models.flow import levels
from dualsweep.trainer.models.loading import Library
from dualsweep.trainer.models.schedules import own_schedule
from dualsweep.trainer.recipe.model import Lora, Model
from dualsweep.trainer.recipe.sampling import Sampling
from dualsweep.trainer.rng import Stream, normals
from dualsweep.trainer.samplers.sampling import sample
from tests.trainer.models.test_build import aligned, latest, prediction, prepared, train
from tests.trainer.tiny import trailing

SHAPE = (2, 4, 4)
LORA = {"rank": 2, "alpha": 3.0, "targets": ["to_q", "to_v"]}


@pytest.fixture(params=["sdxl", "sd3"])
def place(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


def calls_of(pipeline: Any, **options: Any) -> list[tuple[Tensor, Tensor, Tensor]]:
    """What a pipeline asks its network, x and t, and what it makes of the answer, with guidance."""
    seen, step = [], pipeline.scheduler.step

    def noted(output: Tensor, t: Tensor, x: Tensor, *args: Any, **keywords: Any) -> Any:
        seen.append((x.clone(), t.clone(), output.clone()))
        return step(output, t, x, *args, **keywords)

    pipeline.scheduler.step = noted
    pipeline(["a red apple"] * 2, num_inference_steps=4, height=8, width=8, output_type="latent", **options)
    return seen


@pytest.mark.parametrize("negative", [None, "pear"])
def test_predictions_are_those_of_the_pipelines_own_denoising(place: str, negative: str | None) -> None:
    spec = Model(load=place, prompt="a red apple", negative_prompt=negative, guidance=3.0)
    schedule = own_schedule(spec)
    assert schedule is not None
    model = Library().predictor(spec).under(schedule).eval()
    pipeline = DiffusionPipeline.from_pretrained(place)
    asked = calls_of(
        pipeline, guidance_scale=3.0, negative_prompt=None if negative is None else [negative] * 2,
        latents=normals(7, Stream.SAMPLING, 0, range(2), SHAPE),
    )  # fmt: skip
    assert len(asked) == 4
    for x, t, expected in asked:
        with torch.no_grad():
            if model.preconditioning is None:
                predicted = model.guided(x, t.expand(2))
            else:  # at the pipeline's own level of noise, which lies between two of ours
                s = t.float() / len(levels(schedule))
                scale = (s**2 + (1 - s) ** 2).sqrt()
                model.preconditioning = torch.stack([scale, t.float(), 1 - 2 * s, scale])[:, None].expand(
                    4, len(levels(schedule))
                )
                v = model.guided(x / scale, torch.zeros(2, dtype=torch.int64))
                predicted = (v - (1 - 2 * s) * x / scale) / scale
        torch.testing.assert_close(predicted, expected, rtol=1e-4, atol=1e-4)


def test_sdxl_is_told_the_size_of_the_image_whatever_it_is(sdxl: str) -> None:
    model = Library().predictor(Model(load=sdxl, prompt="a pear")).eval()
    pipeline = StableDiffusionXLPipeline.from_pretrained(sdxl)
    x = torch.randn(1, 2, 8, 12, generator=torch.Generator().manual_seed(0))
    seen: list[dict[str, Any]] = []
    pipeline.unet.register_forward_pre_hook(lambda _, args, options: seen.append(options), with_kwargs=True)
    pipeline("a pear", height=16, width=24, num_inference_steps=1, guidance_scale=1.0, latents=x, output_type="latent")
    assert model.condition is not None
    torch.testing.assert_close(model.condition.arguments(x)["time_ids"], seen[0]["added_cond_kwargs"]["time_ids"])


def test_a_pipeline_without_its_longest_encoder_is_understood(sd3: str, tmp_path: Path) -> None:
    pipeline = StableDiffusion3Pipeline.from_pretrained(sd3, text_encoder_3=None, tokenizer_3=None)
    pipeline.save_pretrained(str(tmp_path))
    given, _, pooled, _ = pipeline.encode_prompt("a pear", None, None)
    model = Library().predictor(Model(load=str(tmp_path), prompt="a pear"))
    assert model.condition is not None
    arguments = model.condition.arguments(torch.zeros(1, *SHAPE))
    torch.testing.assert_close(arguments["encoder_hidden_states"], given)
    torch.testing.assert_close(arguments["pooled_projections"], pooled)


def test_rewards_through_the_decoder_train_all_weights_and_samples_are_images(place: str, tmp_path: Path) -> None:
    model = {"load": place, "prompt": "a pear", "guidance": 2.0}
    first = prepared(aligned(model), tmp_path)
    first.sources[0].begin_step(0, np.array([0.0, -1.0])).loss(0).backward()
    gradients = [each.grad for each in first.primal.predictor.parameters() if each.grad is not None]
    assert sum(float(each.square().sum()) for each in gradients) > 0
    result = train(aligned(model), tmp_path / "a")
    assert np.isfinite(result.constraints["bright"].value) and np.load(tmp_path / "a" / "samples.npy").shape == (6, 1, 8, 8)
    again = Library().predictor(Model(load=str(tmp_path / "a")))
    assert torch.equal(prediction(restore(str(result.checkpoint))[0], SHAPE), prediction(again.under(first.schedule), SHAPE))


def test_an_adapter_is_trained_and_diffusers_loads_it(place: str, tmp_path: Path) -> None:
    measured = {"samples": 0, "loss_draws": 4}
    result = train(aligned({"load": place, "prompt": "a pear", "lora": LORA}, evaluation=measured), tmp_path / "a")
    ours, base = Library().predictor(Model(load=str(tmp_path / "a"))), Library().predictor(Model(load=place, prompt="a pear"))
    pipeline = DiffusionPipeline.from_pretrained(place)
    assert not torch.allclose(prediction(ours, SHAPE), prediction(base, SHAPE), atol=1e-5)
    pipeline.load_lora_weights(str(result.checkpoint))
    base.inner = pipeline.components.get("unet") or pipeline.transformer
    torch.testing.assert_close(prediction(base, SHAPE), prediction(ours, SHAPE))
    assert all("lora_" in name for name in latest(tmp_path / "a").groups["weights"])
    again = Library().predictor(Model(load=place, prompt="a pear", lora=str(tmp_path / "a")))
    assert torch.equal(prediction(again, SHAPE), prediction(ours, SHAPE))


def adapter_of(network: Any, folder: Path) -> Path:
    adapters.add(network, Lora.model_validate(LORA))
    for name, content in adapters.files(network).items():
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"cross_attention_dim": 32}, r"size mismatch for .*attn2\.to_v"),
        ({"down_block_types": ["DownBlock2D"] * 2}, r"adapts down_blocks\.0\.attentions\.0"),
    ],
    ids=["of another width", "of more blocks"],
)
def test_an_adapter_of_another_base_is_refused(text_to_image: str, tmp_path: Path, change: dict[str, Any], said: str) -> None:
    config = UNet2DConditionModel.load_config(text_to_image, subfolder="unet")
    folder = adapter_of(UNet2DConditionModel.from_config(config), tmp_path)
    adapters.load(UNet2DConditionModel.from_config(config), folder)
    with pytest.raises(TrainingError, match=rf"^lora must fit the network's layers, but .*{said}.*; give its own base as `load`"):
        adapters.load(UNet2DConditionModel.from_config({**config, **change}), folder)


@pytest.mark.parametrize(
    ("change", "said"), [({"num_attention_heads": 4}, "size mismatch"), ({"num_layers": 1}, r"adapts transformer_blocks\.1\.")]
)
def test_an_adapter_of_another_plain_network_is_refused(
    transformer: str, tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    config = {**DiTTransformer2DModel.load_config(transformer), "num_layers": 2}
    folder = adapter_of(DiTTransformer2DModel.from_config(config), tmp_path)
    adapters.load(DiTTransformer2DModel.from_config(config), folder)
    with pytest.raises(TrainingError, match=rf"^lora must fit the network's layers, but .*{said}.*; give its own base as `load`"):
        adapters.load(DiTTransformer2DModel.from_config({**config, **change}), folder)


def test_what_is_unlike_the_known_kinds_is_refused(sdxl: str, tmp_path: Path) -> None:
    pipeline = StableDiffusionXLPipeline.from_pretrained(sdxl)
    refiner = StableDiffusionXLPipeline(
        pipeline.vae, None, pipeline.text_encoder_2, None, pipeline.tokenizer_2, pipeline.unet, pipeline.scheduler
    )
    refiner.save_pretrained(str(tmp_path / "refiner"))
    with pytest.raises(TrainingError, match="has no tokenizer; give the folder that holds"):
        Library().predictor(Model(load=str(tmp_path / "refiner"), prompt="a"))
    pipeline.unet = UNet2DConditionModel.from_config({**pipeline.unet.config, "time_cond_proj_dim": 8})
    pipeline.save_pretrained(str(tmp_path / "distilled"))
    with pytest.raises(TrainingError, match="also has time_cond_proj_dim 8; use another model"):
        Library().predictor(Model(load=str(tmp_path / "distilled"), prompt="a"))
    with pytest.raises(TrainingError, match=r"at most 12 tokens, but got 15"):
        Library().predictor(Model(load=sdxl, prompt="a b c d e f g h i j k l m"))


def test_deterministic_samples_of_sdxl_are_the_pipelines(sdxl: str) -> None:
    spec = Model(load=sdxl, prompt="a red apple", guidance=3.0)
    library = Library()
    model, space, schedule = library.predictor(spec), library.space(spec), own_schedule(spec)
    assert schedule is not None
    latents = sample(model, schedule, range(2), SHAPE, sampling=Sampling("ddim", 5, 1.0), seed=7, batch_size=2)
    pipeline = StableDiffusionXLPipeline.from_pretrained(sdxl)
    pipeline.scheduler = trailing(pipeline.scheduler)
    images = pipeline(
        ["a red apple"] * 2, guidance_scale=3.0, num_inference_steps=5, output_type="pt",
        latents=normals(7, Stream.SAMPLING, 0, range(2), SHAPE),
    ).images  # fmt: skip
    torch.testing.assert_close((space.decode(latents).clamp(-1, 1) + 1) / 2, images, rtol=1e-4, atol=1e-4)
