"""Random flips: which draws, the same however a batch is divided, and what a model learns from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dualsweep.trainer.engine.sample_command import restore
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.sources.flips import Flips, mirrored
from dualsweep.trainer.sources.mixture_batch import GlobalBatch
from tests.trainer.engine.test_loop import run

CALLED = "tests.trainer.sources.test_flips:"


def batch() -> tuple[GlobalBatch, np.ndarray]:
    """Draws 5 to 4,004 of part 0 and 0 to 999 of part 1, of which every tenth is no row of the data, in no order."""
    order = np.random.default_rng(0).permutation(5000)
    part = np.repeat([0, 1], [4000, 1000])[order]
    number = np.concatenate([np.arange(5, 4005), np.arange(1000)])[order]
    index = np.where(number % 10 == 0, 100, number % 100)
    return GlobalBatch(part, number, index, np.zeros(5000, dtype=np.int64), np.ones(5000)), np.array([5, 0])


@pytest.mark.parametrize("world", [1, 2, 3])
def test_half_of_the_data_is_mirrored_however_a_batch_is_divided(world: int) -> None:
    whole, first = batch()
    flips, flipped = Flips(3, 100), np.zeros(5000, dtype=bool)
    for rank in range(world):
        mine = whole.own(rank, world)
        flipped[mine] = flips.of_step(whole, mine, first)
    assert (flipped == Flips(3, 100).of_step(whole, np.arange(5000), first)).all()
    assert not flipped[whole.index == 100].any(), "samples of models stay as they are"
    of_data = flipped[whole.index < 100]
    assert abs(of_data.mean() - 0.5) < 4 * 0.5 / len(of_data) ** 0.5
    assert (flipped != Flips(4, 100).of_step(whole, np.arange(5000), first)).any()


def test_an_image_is_mirrored_left_to_right() -> None:
    x = torch.arange(8.0).reshape(2, 1, 2, 2)
    assert mirrored(x, np.array([True, False]))[:, 0].tolist() == [[[1, 0], [3, 2]], [[4, 5], [6, 7]]]


class Point(nn.Module):
    """The noise where all data are one image."""

    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Parameter(torch.zeros(2))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return 3 * (x - self.image)


def point() -> nn.Module:
    return Point()


def examples() -> Any:
    return np.tile(np.array([0.9, -0.1], dtype=np.float32), (16, 1)).reshape(16, 1, 1, 2), np.zeros(16, dtype=int)


def flat() -> Any:
    return np.zeros((16, 2), dtype=np.float32), np.zeros(16, dtype=int)


def recipe(**sections: Any) -> Recipe:
    plain = {
        "name": "mirrored", "formulation": "constrained_training", "model": {"call": CALLED + "point"},
        "data": {"call": CALLED + "examples", "random_flip": True}, "schedule": {"timesteps": 20, "name": "linear"},
        "train": {"steps": 300, "batch_size": 64, "lr": 0.02, "lr_schedule": "cosine"},
        "evaluation": {"samples": 0, "loss_draws": 4096, "metrics": []},
    }  # fmt: skip
    return Recipe.model_validate({**plain, **sections})


def test_a_model_learns_an_image_and_its_mirror_image_alike_and_is_measured_on_both(tmp_path: Path) -> None:
    """The least squares of one image and its mirror image is their mean, whatever the weights; the loss is their spread's."""
    both, *_ = run(recipe(), tmp_path / "both")
    one, *_ = run(recipe(data={"call": CALLED + "examples"}), tmp_path / "one")
    image, straight = (restore(str(each.checkpoint)).predictor.stored()["image"] for each in (both, one))
    assert abs(float(image[0] - image[1])) < 0.15 < 0.5 < float(straight[0] - straight[1])
    assert both.objective is not None and one.objective is not None
    assert both.objective > one.objective + 4 * (both.objective_error + one.objective_error)


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"random_flip must go with images \[C, H, W\] .* but got samples of shape \(2,\)"):
        run(recipe(data={"call": CALLED + "flat", "random_flip": True}), tmp_path)
