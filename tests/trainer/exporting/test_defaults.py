"""What diffusers' own classes, and `pipeline.py`, do of an exported pipeline where nobody tells them more."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DiffusionPipeline, FlowMatchEulerDiscreteScheduler, UNet2DModel

from dualsweep.sweeps.exporting.model_card import model_card
from dualsweep.trainer.engine.sample_command import restore
from dualsweep.trainer.exporting.folder import Exported, write_pipeline
from tests.trainer.exporting.test_folder import LORA, SHORT, UNMEASURED
from tests.trainer.models.test_build import aligned, train
from tests.trainer.recipes import digits

SAMPLED = {**UNMEASURED, "sampler": "ddim", "sample_steps": 2}


def exported(model: dict[str, Any], folder: Path) -> tuple[Exported, str]:
    result = train(aligned(model, train=SHORT | {"steps": 1, "batch_size": 4}, evaluation=SAMPLED), folder / "run")
    (folder / "out").mkdir()
    return write_pipeline(restore(str(result.checkpoint)), folder / "out"), str(folder / "out")


def own(out: str) -> Any:
    pipeline = DiffusionPipeline.from_pretrained(out)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def test_an_old_base_has_images_of_the_size_that_was_trained(text_to_image: str, tmp_path: Path) -> None:
    """diffusers takes a small UNet of before 0.9 for one of a wrong size."""
    base = Path(shutil.copytree(text_to_image, tmp_path / "base"))
    config = json.loads((base / "unet/config.json").read_text()) | {"_diffusers_version": "0.6.0"}
    (base / "unet/config.json").write_text(json.dumps(config))
    told, out = exported({"load": str(base), "prompt": "a red apple", "lora": LORA}, tmp_path)
    assert told.size is None
    assert own(out)("a red apple", num_inference_steps=2).images[0].size == (8, 8)


@pytest.mark.parametrize("kind", ["text_to_image", "sdxl", "sd3"])
def test_the_card_s_call_gives_images_that_are_not_square_too(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:  # fmt: skip
    model = {"load": request.getfixturevalue(kind), "prompt": "a red apple", "lora": LORA, "shape": [1, 8, 16]}
    told, out = exported(model, tmp_path)
    assert told.size == (None if kind == "text_to_image" else (8, 16))
    size = {} if told.size is None else {"height": told.size[0], "width": told.size[1]}
    assert own(out)("a red apple", num_inference_steps=2, **size).images[0].size == (16, 8)  # width, height
    own(out)("a red apple", num_inference_steps=2)  # of any size, and no error


def test_the_card_s_call_has_the_negative_text_and_tells_of_guidance_that_diffusers_does_not_take(
    text_to_image: str, tmp_path: Path
) -> None:
    model = {"load": text_to_image, "prompt": "a red apple", "lora": LORA}
    negative, cards = {"guidance": 3.0, "negative_prompt": "pear"}, {}
    keys: dict[str, dict[str, Any]] = {"led": negative, "less": {"guidance": 0.5}, "plain": {}}
    for name, more in keys.items():
        (tmp_path / name).mkdir()
        told, _ = exported(model | more, tmp_path / name)
        cards[name] = model_card(told, restore(str(tmp_path / name / "run/checkpoints/step-00000001")).recipe, None, None)
    led = 'pipeline("a red apple", num_inference_steps=2, guidance_scale=3, negative_prompt="pear")'
    assert f"`{led}`" in cards["led"] and "negative_prompt" not in cards["less"] + cards["plain"]
    assert eval(led, {"pipeline": own(str(tmp_path / "led/out"))}).images[0].size == (8, 8)
    assert [name for name, card in cards.items() if "takes guidance below 1 for none" in card] == ["less"]


def test_what_diffusers_own_classes_cannot_sample_is_for_pipeline_py_alone(text_to_image: str, tmp_path: Path) -> None:
    """Flow matching of a UNet of text, whose pipeline asks its scheduler for what that of flow matching has not; and a network
    that predicts its variance too, in as many channels more."""
    flow = shutil.copytree(text_to_image, tmp_path / "flow")
    FlowMatchEulerDiscreteScheduler(50).save_pretrained(str(flow / "scheduler"))
    index = json.loads((flow / "model_index.json").read_text())
    (flow / "model_index.json").write_text(json.dumps(index | {"scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"]}))
    UNet2DModel(
        sample_size=8, in_channels=1, out_channels=2, block_out_channels=(8,), norm_num_groups=4, layers_per_block=1,
        down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",),
    ).save_pretrained(str(tmp_path / "variance" / "unet"))  # fmt: skip
    models: dict[str, dict[str, Any]] = {
        "of flow": {"load": str(flow), "prompt": "a red apple", "lora": LORA},
        "of its variance": {"load": str(tmp_path / "variance"), "shape": [1, 8, 8]},
    }
    for name, model in models.items():
        recipe = aligned(model, train=SHORT | {"steps": 1, "batch_size": 4}, evaluation=SAMPLED)
        recipe = recipe if name == "of flow" else recipe.model_copy(update={"schedule": digits().schedule})
        result = train(recipe, tmp_path / name / "run")
        out = tmp_path / name / "out"
        out.mkdir()
        assert write_pipeline(restore(str(result.checkpoint)), out).pipeline is None, name
        carried = DiffusionPipeline.from_pretrained(str(out), custom_pipeline=str(out), trust_remote_code=True)
        assert carried(2, output_type="np").images.shape == (2, 8, 8, 1)


@pytest.mark.parametrize(("upcast", "taken"), [(True, torch.float32), (False, torch.float16)])
def test_an_autoencoder_that_overflows_in_half_precision_decodes_in_single(
    upcast: bool, taken: torch.dtype, sdxl: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `force_upcast` says of that of SDXL; it is of half precision again afterwards."""
    _, out = exported({"load": sdxl, "prompt": "a red apple", "lora": LORA}, tmp_path)
    pipeline = DiffusionPipeline.from_pretrained(out, custom_pipeline=out, trust_remote_code=True, torch_dtype=torch.float16)
    pipeline.set_progress_bar_config(disable=True)
    vae, decode = pipeline.vae, pipeline.vae.decode
    vae.register_to_config(force_upcast=upcast)
    asked: list[tuple[torch.dtype, torch.dtype]] = []

    def noted(z: torch.Tensor) -> Any:
        asked.append((z.dtype, vae.dtype))
        return decode(z)

    monkeypatch.setattr(vae, "decode", noted)
    assert pipeline(2, output_type="np").images.shape == (2, 8, 8, 1)
    assert asked == [(taken, taken)] and vae.dtype == torch.float16


def test_only_prompts_that_are_drawn_are_embedded_and_few_at_once(
    text_to_image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = [f"a pear {number}" for number in range(70)]
    _, out = exported({"load": text_to_image, "prompts": prompts}, tmp_path)
    pipeline = DiffusionPipeline.from_pretrained(out, custom_pipeline=out, trust_remote_code=True)
    pipeline.set_progress_bar_config(disable=True)
    asked: list[int] = []
    encoder, forward = pipeline.text_encoder, pipeline.text_encoder.forward

    def noted(ids: Any, *rest: Any, **more: Any) -> Any:
        asked.append(len(ids))
        return forward(ids, *rest, **more)

    monkeypatch.setattr(encoder, "forward", noted)
    assert len(pipeline(batch_size=1, num_inference_steps=2).images) == 1 and asked == [1]
    with pytest.raises(ValueError, match="`num_inference_steps` must be 2, those of the chain that was evaluated, but got 50"):
        pipeline(num_inference_steps=50)
    asked.clear()
    assert len(pipeline().images) == 64 and asked == [16, 16, 16, 16]
