from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from dualsweep.trainer.evaluation.judge_protocol import Judge
from dualsweep.trainer.rewards.registry import resolve
from dualsweep.trainer.rewards.spec import ByPrompt, RewardContext, RewardFunction
from tests.trainer import tiny


def context_of(
    shape: tuple[int, ...] = (3, 8, 8), judge: Judge | None = None, class_names: Sequence[int | str] = ()
) -> RewardContext:
    return RewardContext(shape, torch.device("cpu"), lambda: judge, class_names)


def built(value: Any, **context: Any) -> RewardFunction:
    """A reward of a recipe's value, unchecked."""
    function = resolve(value).build(context_of(**context))
    assert not isinstance(function, ByPrompt)
    return function


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


#: The side of the images that the CLIP takes.
SIDE = tiny.CLIP_SIDE
LETTERS = "abcdefghijklmnopqrstuvwxyz"


@pytest.fixture(scope="session")
def bert_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of an uncased BERT tokenizer with few words."""
    from transformers import BertTokenizer

    folder = tmp_path_factory.mktemp("bert")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(f"##{each}" for each in LETTERS), "cat"]
    BertTokenizer(vocab={word: n for n, word in enumerate(words)}).save_pretrained(folder)
    return folder
