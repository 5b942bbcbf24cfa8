"""Scorers on a CLIP of the real classes with random weights: against the model's own forward pass and processor."""

from __future__ import annotations

import shutil
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel

from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.rewards.clip import Clip
from dualsweep.trainer.rewards.evaluate import checked
from dualsweep.trainer.rewards.registry import resolve
from tests.trainer.rewards.conftest import SIDE, built, context_of, noise, pictures

PROMPT = "a cat"


def official(folder: Path, images: list[Image.Image]) -> tuple[Tensor, Tensor, float]:
    """Logits per image [B], image embeddings [B, D] and the logit scale, by the model's own forward."""
    model = CLIPModel.from_pretrained(folder)
    tokens = AutoTokenizer.from_pretrained(folder)(PROMPT, return_tensors="pt")
    pixels = AutoImageProcessor.from_pretrained(folder)(images, return_tensors="pt")
    with torch.no_grad():
        output = model(**tokens, **pixels)
    return output.logits_per_image[:, 0], output.image_embeds, float(model.logit_scale.detach().exp())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("height", "width"), [(SIDE, SIDE), (SIDE, 33), (31, SIDE)])
def test_scores_equal_the_models_own(clip_folder: Path, channels: int, height: int, width: int) -> None:
    """The shorter side needs no resize here, so preprocessing is exact."""
    x, images = pictures(channels, height, width)
    logits, _, scale = official(clip_folder, images)
    options = {"model": str(clip_folder), "prompt": PROMPT}
    pick = built({"pick_score": {**options, "processor": None}})(x)
    torch.testing.assert_close(pick, logits, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(built({"clip_score": options})(x), 100 * logits / scale, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("channels", [1, 3])
def test_gradients_flow_through_the_preprocessing_to_the_pixels(clip_folder: Path, channels: int) -> None:
    reward = checked(
        resolve({"clip_score": {"model": str(clip_folder), "prompt": PROMPT}}), context_of(shape=(channels, 8, 8)), gradient=True
    )
    x = noise(2, channels, 8, 8).float().requires_grad_()
    (gradient,) = torch.autograd.grad(reward(x).sum(), x)
    assert gradient.isfinite().all() and (gradient != 0).float().mean() > 0.99
    step = 1e-2 * gradient / gradient.norm()
    with torch.no_grad():
        rise = float((reward(x + step) - reward(x - step)).sum() / 2)
    assert rise == pytest.approx(float((gradient * step).sum()), rel=0.05)


def test_a_long_prompt_is_cut_and_another_prompt_is_another_score(clip_folder: Path) -> None:
    x = noise(2, 3, 8, 8).float()
    scores = [built({"clip_score": {"model": str(clip_folder), "prompt": p}})(x) for p in ("a cat", "a dog", "a dog " * 40)]
    assert (scores[0] != scores[1]).all() and all(each.isfinite().all() for each in scores)


HEADS = {
    "one.safetensors": nn.Linear(8, 1),
    "five.pth": nn.Sequential(
        OrderedDict(
            layers=nn.Sequential(
                nn.Linear(8, 12), nn.Dropout(0.2), nn.Linear(12, 6), nn.Dropout(0.2), nn.Linear(6, 5), nn.Dropout(0.1),
                nn.Linear(5, 4), nn.Linear(4, 1),
            )
        )
    ),
    "eleven.pth": nn.Sequential(*(nn.Linear(8, 8) for _ in range(10)), nn.Linear(8, 1, bias=False)),
}  # fmt: skip


@pytest.mark.parametrize("name", HEADS)
def test_aesthetic_is_the_head_on_the_normalised_embedding(clip_folder: Path, tmp_path: Path, name: str) -> None:
    head = HEADS[name].eval()
    if name.endswith(".pth"):
        torch.save(head.state_dict(), tmp_path / name)
    else:
        save_file(head.state_dict(), tmp_path / name)
    x, images = pictures(3, SIDE, SIDE)
    embeddings = official(clip_folder, images)[1]
    reward = checked(
        resolve({"aesthetic": {"model": str(clip_folder), "head": str(tmp_path / name)}}), context_of(), gradient=True
    )
    with torch.no_grad():
        expected = head(embeddings)[:, 0]
    torch.testing.assert_close(reward(x), expected, rtol=1e-4, atol=1e-4)


def head_error(clip_folder: Path, path: Path) -> str:
    with pytest.raises(TrainingError) as raised:
        built({"aesthetic": {"model": str(clip_folder), "head": str(path)}})
    return str(raised.value)


def test_a_head_of_another_clip_or_that_is_none_is_refused(clip_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "head.pth"
    for wrong in (nn.Linear(7, 1), nn.Linear(8, 2), nn.Conv2d(8, 1, 1), nn.Sequential(nn.Linear(8, 4), nn.BatchNorm1d(4))):
        torch.save(wrong.state_dict(), path)
        assert "head must hold linear layers from 8 numbers to 1 for this model, but got {" in head_error(clip_folder, path)
    torch.save([1, 2], path)
    assert "`head` must hold a state dict, but got a list" in head_error(clip_folder, path)
    torch.save(nn.Linear(8, 1), path)  # a pickled module could run anything
    assert "`head` must be a readable file of weights" in head_error(clip_folder, path)
    for name in ("absent.pth", "absent.safetensors"):
        assert f"but got {tmp_path / name}" in head_error(clip_folder, tmp_path / name)
    (tmp_path / "text.safetensors").write_text("no weights")
    assert "`head` must be a readable file of weights" in head_error(clip_folder, tmp_path / "text.safetensors")


def test_a_model_that_cannot_be_loaded_is_told(clip_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    rule = "a scorer's `model` must be a transformers CLIPModel"
    with pytest.raises(TrainingError, match=rule):
        built({"clip_score": {"model": str(tmp_path), "prompt": PROMPT}})
    shutil.copytree(clip_folder, tmp_path / "bare", ignore=shutil.ignore_patterns("tokenizer*", "preprocessor*"))
    with pytest.raises(TrainingError, match=rule):
        built({"clip_score": {"model": str(tmp_path / "bare"), "prompt": PROMPT}})
    beside = {"model": str(tmp_path / "bare"), "processor": str(clip_folder), "prompt": PROMPT}
    x = noise(2, 3, 8, 8).float()
    expected = built({"clip_score": {"model": str(clip_folder), "prompt": PROMPT}})(x)
    torch.testing.assert_close(built({"clip_score": beside})(x), expected)


def test_a_model_that_lacks_weights_is_refused(clip_folder: Path, tmp_path: Path) -> None:
    """transformers would draw them at random."""
    shutil.copytree(clip_folder, tmp_path, dirs_exist_ok=True)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["text_projection.weight"]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(TrainingError, match=r"no weights for 1 parameters, such as text_projection\.weight"):
        built({"clip_score": {"model": str(tmp_path), "prompt": PROMPT}})


def test_each_image_has_its_own_text(clip_folder: Path) -> None:
    clip = Clip.load(str(clip_folder), str(clip_folder), torch.device("cpu"))
    x = noise(2, 3, SIDE, SIDE).float()
    scores = [built({"clip_score": {"model": str(clip_folder), "prompt": prompt}})(x) for prompt in ("a cat", "a dog")]
    found = 100 * clip.cosines(x, clip.texts(["a cat", "a dog"]))
    torch.testing.assert_close(found, torch.stack([scores[0][0], scores[1][1]]), rtol=1e-5, atol=1e-4)
