"""What steps take to a worker's device goes by way of pinned memory: told on a device without numbers, where it costs nothing."""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from dualsweep.trainer import transfer
from dualsweep.trainer.engine.assembly import prepare
from dualsweep.trainer.recipe.recipe import Recipe
from tests.trainer.amortised.test_training import AMORTISED
from tests.trainer.models.test_build import aligned, host_in
from tests.trainer.recipes import digits

REWARD = {"name": "bright", "reward": "brightness", "at_least": 0.5}
ROLLOUT: dict[str, Any] = {"steps": 3, "batch_size": 4, "normalize": False}


class _Watched(TorchDispatchMode):
    """Notes where operations take tensors of the host to the device, but for those of `sent`."""

    def __init__(self) -> None:
        super().__init__()
        self.waited: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        made = func(*args, **(kwargs or {}))
        given = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        there = any(each.is_meta for each in [*given, *tree_leaves(made)] if isinstance(each, Tensor))
        copied = "copy" in str(func) or any(each.ndim for each in given if not each.is_meta)
        if there and copied and any(not each.is_meta for each in given):
            frames = [each for each, _ in traceback.walk_stack(sys._getframe(1))]
            if not any(each.f_code is transfer.sent.__code__ for each in frames):
                self.waited.append(_place(frames, str(func)))
        return made

    def copying(self, make: Callable[..., Tensor]) -> Callable[..., Tensor]:
        """A function that makes tensors of numbers, noted where it makes one on the device."""

        def made(*given: Any, **named: Any) -> Tensor:
            tensor = make(*given, **named)
            if tensor.is_meta:
                self.waited.append(_place([each for each, _ in traceback.walk_stack(sys._getframe(1))], make.__name__))
            return tensor

        return made


def _place(frames: list[FrameType], func: str) -> str:
    ours = next(each for each in frames if "/trainer/" in each.f_code.co_filename)
    return f"{func} in {Path(ours.f_code.co_filename).name}:{ours.f_lineno}"


def waited(recipe: Recipe, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Where the second step of a training waits."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())  # this device has none
    run = prepare(recipe, replace(host_in(recipe, folder), device=torch.device("meta")))
    weights = np.full(1 + len(recipe.constraints), 1.0 / (1 + len(recipe.constraints)))
    for source in run.sources:
        source.begin_step(0, weights).loss(0)
    watched = _Watched()
    for owner, name in ((torch, "tensor"), (Tensor, "new_tensor")):  # which no dispatcher sees
        monkeypatch.setattr(owner, name, watched.copying(getattr(owner, name)))
    with watched:
        for source in run.sources:
            source.begin_step(1, weights).loss(0)
            source.close()
    return watched.waited


def test_a_step_on_data_does_not_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert waited(digits(), tmp_path, monkeypatch) == []


@pytest.mark.parametrize("loaders", [0, 1])
def test_a_step_on_files_does_not_wait(loaders: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dualsweep.trainer.data.examples.IN_MEMORY_BYTES", 0)
    for number in range(6):
        file = tmp_path / "images" / "ab"[number % 2] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8), 40 * number, dtype=np.uint8)).save(file)
    data: dict[str, Any] = {"source": None, "keep": {}, "folder": str(tmp_path / "images"), "size": 8, "grey": True}
    constraint = {"name": "b", "data": {"classes": ["b"]}, "at_most": 0.5}
    recipe = digits(data=data, constraints=[constraint], resources={"loaders": loaders})
    assert waited(recipe, tmp_path, monkeypatch) == []


@pytest.mark.parametrize("gradient", ["backpropagation", "policy_gradient", "dag", "dag_kl"])
def test_a_step_on_trajectories_of_several_prompts_does_not_wait(
    gradient: str, tmp_path: Path, text_to_image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = {"load": text_to_image, "prompts": ["a pear", "an apple"], "guidance": 2.0}
    recipe = aligned(model, constraints=[REWARD], rollout={**ROLLOUT, "gradient": gradient})
    assert waited(recipe, tmp_path, monkeypatch) == []


def test_a_step_of_sdxl_does_not_wait(tmp_path: Path, sdxl: str, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = aligned({"load": sdxl, "prompt": "a pear"}, constraints=[REWARD], rollout=ROLLOUT)
    assert waited(recipe, tmp_path, monkeypatch) == []


def test_a_step_at_drawn_multipliers_does_not_wait(tmp_path: Path, text_to_image: str, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = aligned({"load": text_to_image, "prompt": "a pear"}, constraints=[REWARD], rollout=ROLLOUT, amortised=AMORTISED)
    assert waited(recipe, tmp_path, monkeypatch) == []
