"""Activations that are computed again: the same gradients from fewer numbers kept; what cannot is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from dualsweep.trainer.checkpoint import CheckpointFolder
from dualsweep.trainer.dual.coordinator import InProcess
from dualsweep.trainer.engine.assembly import prepare
from dualsweep.trainer.engine.dual_side import controller_of
from dualsweep.trainer.engine.gradient_primal import GradientPrimal
from dualsweep.trainer.engine.host import LocalHost
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.recipe.recipe import Recipe
from tests.trainer.engine.saved import most_kept
from tests.trainer.engine.test_loop import aligned
from tests.trainer.recipes import digits


def primal_of(recipe: Recipe, folder: Path) -> GradientPrimal:
    primal = prepare(recipe, LocalHost(InProcess(controller_of(recipe)), CheckpointFolder(str(folder)))).primal
    assert isinstance(primal, GradientPrimal)
    return primal


def updated(checkpointing: bool, folder: Path) -> tuple[list[Tensor | None], int]:
    """The gradients of an update with dropout, and how much was kept for it."""
    unet = {"channels": [8, 16], "norm_groups": 8, "dropout": 0.2}
    primal = primal_of(digits(model={"unet": unet}, train={"checkpointing": checkpointing, "clip": None}), folder)
    torch.manual_seed(0)
    x, t = torch.randn(8, 1, 8, 8), torch.arange(8)
    kept = most_kept(lambda: primal.update([lambda: primal.predict(x, t).square().mean()]))
    return [each.grad for each in primal.parameters], kept


def test_gradients_are_the_same_from_a_third_of_what_was_kept(tmp_path: Path) -> None:
    (plain, all_kept), (again, kept) = (updated(checkpointing, tmp_path) for checkpointing in (False, True))
    torch.testing.assert_close(again, plain, rtol=1e-5, atol=1e-7)
    assert kept < all_kept / 3


def test_a_network_that_cannot_is_refused_by_name(tmp_path: Path) -> None:
    plain = aligned("backpropagation").model_dump(mode="json", exclude_unset=True)
    recipe = Recipe.model_validate({**plain, "train": {**plain["train"], "checkpointing": True}})
    with pytest.raises(TrainingError, match=r"but got a Model \(it has no method .*\); give it that method, or drop") as raised:
        primal_of(recipe, tmp_path)
    assert "train.accumulate" in str(raised.value)
