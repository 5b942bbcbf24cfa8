"""Loaded pipelines: all weights are there, in 32 bits, and captions are embedded by what the folder says now."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DiffusionPipeline
from peft import LoraConfig
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModel

from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.models.loading import Library, pipeline_parts
from dualsweep.trainer.models.text import Encoders, part_of
from dualsweep.trainer.recipe.model import Model

TEXTS = ("a red apple", "a blue pear")


def without(file: Path, *keys: str) -> None:
    save_file({name: tensor for name, tensor in load_file(file).items() if name not in keys}, file, {"format": "pt"})


@pytest.fixture
def place(text_to_image: str, tmp_path: Path) -> Path:
    """A pipeline of its own, to be changed."""
    return Path(shutil.copytree(text_to_image, tmp_path / "pipeline"))


@pytest.mark.parametrize(
    "file, key",
    [
        ("text_encoder/model.safetensors", "encoder.layers.0.self_attn.q_proj.weight"),
        ("unet/diffusion_pytorch_model.safetensors", "conv_in.weight"),
        ("vae/diffusion_pytorch_model.safetensors", "decoder.conv_in.weight"),
    ],
)
def test_a_part_without_one_of_its_weights_is_refused_by_name(place: Path, file: str, key: str) -> None:
    [found] = [name for name in load_file(place / file) if name.endswith(key)]
    without(place / file, found)
    part = file.partition("/")[0]
    with pytest.raises(
        TrainingError, match=rf"weights of a loaded {part} must all be there, but .* lacks 1 of its \w+, first {key}"
    ):
        library = Library()
        library.predictor(Model(load=str(place), prompt="a red apple"))
        library.space(Model(load=str(place), prompt="a red apple"))


@pytest.mark.parametrize("keep", [0, 5000], ids=["a pointer of git-lfs", "cut short"])
def test_a_text_encoder_that_cannot_be_read_is_told_with_its_place(place: Path, keep: int) -> None:
    file = place / "text_encoder/model.safetensors"
    file.write_bytes(file.read_bytes()[:keep] or b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(TrainingError, match=r"encoders must be readable, but got Error while deserializing header.*pipeline'"):
        Library().predictor(Model(load=str(place), prompt="a red apple"))


def test_a_text_encoder_with_the_weights_of_another_is_refused_by_name(place: Path) -> None:
    config = json.loads((place / "text_encoder/config.json").read_text())
    (place / "text_encoder/config.json").write_text(json.dumps({**config, "hidden_size": 2 * config["hidden_size"]}))
    with pytest.raises(
        TrainingError, match=r"loaded text_encoder must all be there, but .* has 19 of another shape .* first emb"
    ):
        Library().predictor(Model(load=str(place), prompt="a red apple"))


def test_a_network_that_was_saved_with_an_adapter_in_it_is_refused_with_the_way_out(place: Path) -> None:
    pipeline = DiffusionPipeline.from_pretrained(place)
    pipeline.unet.add_adapter(LoraConfig(r=2, target_modules=["to_q"]))
    pipeline.save_pretrained(place)
    for trained in (True, False):
        with pytest.raises(TrainingError, match=r"lacks \d+ of its UNet2DConditionModel, first .*to_q.*fuse_lora\(\) and unload"):
            Library().predictor(Model(load=str(place), prompt="a red apple"), trained)


@pytest.mark.parametrize("saved", [{}, {"variant": "fp16"}], ids=["plain", "variant"])
def test_all_parts_are_loaded_in_32_bits(place: Path, saved: dict[str, str], sdxl: str, tmp_path: Path) -> None:
    for number, base in enumerate((place, sdxl)):
        folder = tmp_path / f"half-{number}"
        DiffusionPipeline.from_pretrained(base).to(torch.float16).save_pretrained(folder, **saved)
        predictor = Library().predictor(Model(load=str(folder), prompt="a red apple"))
        parts = pipeline_parts(str(folder))
        network: Any = predictor.inner
        components = Encoders().of(str(folder), network, parts).components
        encoders = {name: each for name, each in components.items() if name.startswith("text_encoder") and each is not None}
        assert encoders and {each.dtype for each in (network, *encoders.values())} == {torch.float32}
        assert part_of(network) == "unet"


def test_one_part_alone_may_be_of_a_variant(sdxl: str, tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    shutil.copytree(sdxl, folder)
    (folder / "text_encoder_2/model.safetensors").rename(folder / "text_encoder_2/model.fp16.safetensors")
    of_mixed, of_whole = (Library().predictor(Model(load=str(each), prompt="a red apple")).condition for each in (folder, sdxl))
    assert of_mixed is not None and of_whole is not None
    asked = torch.zeros(1, 2, 4, 4)
    torch.testing.assert_close(of_mixed.arguments(asked), of_whole.arguments(asked), rtol=0, atol=0)


def other_activation(place: Path) -> None:
    config = json.loads((place / "text_encoder/config.json").read_text())
    (place / "text_encoder/config.json").write_text(json.dumps({**config, "hidden_act": "gelu"}))


def other_weights(place: Path) -> None:
    encoder = CLIPTextModel.from_pretrained(place / "text_encoder")
    with torch.no_grad():
        encoder.get_input_embeddings().weight.mul_(1.5)
    encoder.save_pretrained(place / "text_encoder")


def other_tokens(place: Path) -> None:
    tokens = json.loads((place / "tokenizer/tokenizer.json").read_text())
    tokens["model"]["merges"] = []
    (place / "tokenizer/tokenizer.json").write_text(json.dumps(tokens))


@pytest.mark.parametrize("change", [other_activation, other_weights, other_tokens])
def test_kept_captions_are_those_of_the_pipeline_as_it_is_now(
    text_to_image: str, place: Path, change: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DUALSWEEP_LATENTS", str(tmp_path / "kept"))
    embedded = []
    change(place)
    for load, kept in ((text_to_image, True), (str(place), True), (str(place), False)):
        if not kept:
            monkeypatch.setenv("DUALSWEEP_LATENTS", "")
        condition = Library(captions=TEXTS).predictor(Model(load=load, condition="captions")).condition
        assert condition is not None
        embedded.append(condition.arguments(torch.zeros(2, 2, 4, 4), torch.tensor([0, 1]))["encoder_hidden_states"])
    before, after, anew = embedded
    assert torch.equal(after, anew) and not torch.equal(before, after)


def test_guidance_of_0_is_the_unconditional_prediction(text_to_image: str) -> None:
    model = Library().predictor(Model(load=text_to_image, guidance=0.0, prompt="a red apple"))
    x, t = torch.randn(2, 2, 4, 4), torch.tensor([3, 7])
    with torch.no_grad():
        assert model.guidance == 0.0
        torch.testing.assert_close(model.guided(x, t), 2 * model.led(x, t, 0.5) - model(x, t))
        assert not torch.allclose(model.guided(x, t), model(x, t))
