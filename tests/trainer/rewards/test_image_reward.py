"""ImageReward: against a network of its authors' layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoTokenizer

from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.rewards.blip import Blip
from dualsweep.trainer.rewards.evaluate import checked
from dualsweep.trainer.rewards.preprocessing import Preprocessing
from dualsweep.trainer.rewards.registry import resolve
from dualsweep.trainer.rewards.spec import RewardFunction
from tests.trainer.rewards.conftest import SIDE, built, context_of, noise, pictures
from tests.trainer.rewards.originals import MEAN, STD, OriginalImageReward, pixels


@pytest.fixture(scope="module")
def original() -> OriginalImageReward:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return OriginalImageReward(words=60, side=SIDE).eval().requires_grad_(False)


@pytest.fixture
def checkpoint(original: OriginalImageReward, tmp_path: Path) -> Path:
    torch.save(original.state_dict(), tmp_path / "ImageReward.pt")
    return tmp_path / "ImageReward.pt"


def reward(checkpoint: Path, bert_folder: Path, prompt: str) -> RewardFunction:
    return built({"image_reward": {"model": str(checkpoint), "tokenizer": str(bert_folder), "prompt": prompt}})


def padded(bert_folder: Path, prompt: str) -> tuple[Tensor, Tensor]:
    """Tokens and which of them are no padding, as ImageReward asks for them."""
    tokenizer = AutoTokenizer.from_pretrained(bert_folder)
    found = tokenizer(prompt, padding="max_length", truncation=True, max_length=35, return_tensors="pt")
    return found.input_ids[0], found.attention_mask[0].bool()


@pytest.mark.parametrize("prompt", ["a cat", "A cat, b", "cat " * 50])
def test_scores_are_those_of_the_authors_network(
    original: OriginalImageReward, checkpoint: Path, bert_folder: Path, prompt: str
) -> None:
    x, _ = pictures(3, SIDE, SIDE)
    expected = original(pixels(x), *padded(bert_folder, prompt))
    assert expected.std() > 0.05
    torch.testing.assert_close(reward(checkpoint, bert_folder, prompt)(x), expected, rtol=1e-5, atol=1e-4)


def test_another_prompt_is_another_score(checkpoint: Path, bert_folder: Path) -> None:
    x = noise(2, 3, SIDE, SIDE).float()
    first, second = (reward(checkpoint, bert_folder, prompt)(x) for prompt in ("a cat", "a dog"))
    assert (first - second).abs().min() > 1e-2


def test_each_image_has_its_own_text(checkpoint: Path, bert_folder: Path) -> None:
    """Shorter texts are padded beside longer ones, which changes nothing."""
    blip = Blip.load(str(checkpoint), str(bert_folder), torch.device("cpu"))
    x, prompts = noise(3, 3, SIDE, SIDE).float(), ["a cat", "a", "a cat, a dog"]
    together = blip.values(x, blip.tokens(prompts))
    alone = [blip.values(each[None], blip.tokens([prompt])) for each, prompt in zip(x, prompts, strict=True)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-5, atol=1e-5)
    assert (together - blip.values(x, blip.tokens(["a cat"] * 3))).abs()[1:].min() > 1e-2


def test_images_are_resized_and_cropped_to_the_models_side(checkpoint: Path, bert_folder: Path) -> None:
    blip = Blip.load(str(checkpoint), str(bert_folder), torch.device("cpu"))
    assert blip.preprocessing == Preprocessing(SIDE, (SIDE, SIDE), MEAN, STD)
    wide = noise(2, 3, SIDE, SIDE + 8).float()
    score = reward(checkpoint, bert_folder, "a cat")
    torch.testing.assert_close(score(wide), score(wide[..., 4:-4]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_gradient_is_the_rise(checkpoint: Path, bert_folder: Path, channels: int) -> None:
    spec = resolve({"image_reward": {"model": str(checkpoint), "tokenizer": str(bert_folder), "prompt": "a cat"}})
    score = checked(spec, context_of(shape=(channels, 8, 8)), gradient=True)
    x = noise(2, channels, 8, 8).float().requires_grad_()
    (gradient,) = torch.autograd.grad(score(x).sum(), x)
    assert gradient.isfinite().all() and (gradient != 0).float().mean() > 0.99
    step = 1e-2 * gradient / gradient.norm()
    with torch.no_grad():
        rise = float((score(x + step) - score(x - step)).sum() / 2)
    assert rise == pytest.approx(float((gradient * step).sum()), rel=0.05)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"blip.visual_encoder.pos_embed": None}, "(KeyError: 'embeddings.position_embedding')"),
        ({"blip.text_encoder.encoder.layer.1.crossattention.self.key.bias": None}, "no weights for 1 parameters, such as enc"),
        ({"blip.visual_encoder.norm.weight": torch.zeros(3)}, "(RuntimeError: "),
        ({"mlp.layers.7.weight": torch.zeros(2, 4)}, "a scorer's head must hold linear layers from 128 numbers to 1 for this"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(
    original: OriginalImageReward, bert_folder: Path, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    weights = {name: tensor for name, tensor in (original.state_dict() | change).items() if tensor is not None}
    torch.save(weights, tmp_path / "other.pt")
    with pytest.raises(TrainingError) as raised:
        reward(tmp_path / "other.pt", bert_folder, "a cat")
    assert message in str(raised.value) and str(tmp_path / "other.pt") in str(raised.value)


def test_what_is_no_checkpoint_or_tokenizer_is_told(checkpoint: Path, tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 1).state_dict(), tmp_path / "linear.pt")
    with pytest.raises(TrainingError, match="`model` must be a checkpoint of ImageReward"):
        reward(tmp_path / "linear.pt", tmp_path, "a cat")
    with pytest.raises(TrainingError, match="`tokenizer` that of an uncased BERT, but got"):
        reward(checkpoint, tmp_path, "a cat")
    with pytest.raises(TrainingError, match=r"`model` must be a readable file of weights, but got .*absent\.pt"):
        reward(tmp_path / "absent.pt", tmp_path, "a cat")
