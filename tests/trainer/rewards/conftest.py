from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from trainer.evaluation.asking import Judge
from trainer.rewards import RewardContext, RewardFunction, resolve


def context_of(
    shape: tuple[int, ...] = (3, 8, 8), judge: Judge | None = None, class_names: Sequence[int | str] = ()
) -> RewardContext:
    return RewardContext(shape, torch.device("cpu"), lambda: judge, class_names)


def built(value: Any, **context: Any) -> RewardFunction:
    """A reward of a recipe's value, unchecked."""
    return resolve(value).build(context_of(**context))


def noise(*shape: int, seed: int = 0) -> Tensor:
    """Images strictly inside (-1, 1), float64."""
    drawn = torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return 1.9 * drawn - 0.95


def pictures(channels: int, height: int, width: int, low: int = 0, high: int = 256) -> tuple[Tensor, list[Image.Image]]:
    """The same 8-bit images as [B, C, H, W] in [-1, 1] and as PIL's."""
    drawn = np.random.default_rng(0).integers(low, high, (3, height, width, channels), dtype=np.uint8)
    x = torch.from_numpy(drawn).permute(0, 3, 1, 2).float() / 127.5 - 1
    return x, [Image.fromarray(each if channels == 3 else each[..., 0]).convert("RGB") for each in drawn]


class Linear:
    """A judge whose logits are linear in the pixels: its gradients are known."""

    def __init__(self, size: int, classes: int) -> None:
        self.weight = noise(size, classes, seed=1)

    def features(self, x: Tensor) -> Tensor:
        return x.flatten(1)

    def probabilities(self, x: Tensor) -> Tensor:
        return (x.flatten(1) @ self.weight.to(x.dtype)).softmax(dim=1)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Writes a user's module into the working directory; forgets it afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    written: list[str] = []

    def write(name: str, text: str) -> None:
        (tmp_path / f"{name}.py").write_text(text)
        written.append(name)

    yield write
    for name in written:
        sys.modules.pop(name, None)


LETTERS = "abcdefghijklmnopqrstuvwxyz"
SIDE = 20


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP of the real classes with random weights, and the files of a real tokenizer and of OpenAI's image processor."""
    from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

    folder = tmp_path_factory.mktemp("clip")
    words = ["<|startoftext|>", "<|endoftext|>", *LETTERS, *(f"{each}</w>" for each in LETTERS), "ca", "cat</w>"]
    CLIPTokenizer(vocab={word: n for n, word in enumerate(words)}, merges=[("c", "a"), ("ca", "t</w>")]).save_pretrained(folder)
    tower = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {"vocab_size": len(words), "max_position_embeddings": 12, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    vision = {"image_size": SIDE, "patch_size": 5}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        CLIPModel(CLIPConfig(text_config=tower | text, vision_config=tower | vision, projection_dim=8)).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(
        json.dumps(
            {
                "feature_extractor_type": "CLIPFeatureExtractor", "resample": 3, "size": SIDE, "crop_size": SIDE,
                "do_resize": True, "do_center_crop": True, "do_normalize": True,
                "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711],
            }
        )
    )  # fmt: skip
    return folder


@pytest.fixture(scope="session")
def bert_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of an uncased BERT tokenizer with few words."""
    from transformers import BertTokenizer

    folder = tmp_path_factory.mktemp("bert")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(f"##{each}" for each in LETTERS), "cat"]
    BertTokenizer(vocab={word: n for n, word in enumerate(words)}).save_pretrained(folder)
    return folder
