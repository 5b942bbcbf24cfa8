"""Random crops and offset noise: which draws, the same however a batch is divided, and the losses that they make."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.models.schedules import noise_schedule
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.sources.crops import Crops, shifted
from tests.margins import Sampled
from tests.trainer.engine.test_loop import run
from tests.trainer.sources.test_flips import batch

CALLED = "tests.trainer.sources.test_crops:"
IMAGE = np.array([[0.3, -0.4, 0.1], [-0.3, 0.95, 0.2], [0.0, -0.1, 0.5]], dtype=np.float32)


@pytest.mark.parametrize("world", [1, 2, 3])
def test_all_shifts_are_alike_and_the_same_however_a_batch_is_divided(world: int) -> None:
    whole, first = batch()
    crops, shifts = Crops(3, 100, 2), np.full((5000, 2), 9)
    for rank in range(world):
        mine = whole.own(rank, world)
        shifts[mine] = crops.of_step(whole, mine, first)
    assert (shifts == Crops(3, 100, 2).of_step(whole, np.arange(5000), first)).all()
    assert not shifts[whole.index == 100].any(), "samples of models stay as they are"
    of_data = shifts[whole.index < 100]
    counts = np.array([(of_data == each).all(1).sum() for each in product(range(-2, 3), repeat=2)])
    expected = len(of_data) / 25
    assert counts.sum() == len(of_data) and (np.abs(counts - expected) < 4.5 * expected**0.5).all()


def test_a_crop_is_a_window_of_the_reflected_image() -> None:
    x = torch.randn(25, 2, 4, 5, generator=torch.Generator().manual_seed(0))
    shifts = np.array(list(product(range(-2, 3), repeat=2)))
    wide = np.pad(x.numpy(), ((0, 0), (0, 0), (2, 2), (2, 2)), mode="reflect")
    for image, (down, right), found in zip(wide, shifts, shifted(x, shifts, 2).numpy(), strict=True):
        np.testing.assert_array_equal(found, image[:, 2 - down : 6 - down, 2 - right : 7 - right])


class Silent(nn.Module):
    """Predicts 0: the loss of the noise is E noise^2, that of v at the cumulative alpha a is a E noise^2 + (1 - a) E x^2."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self.weight * x


def examples() -> Any:
    return np.tile(IMAGE, (16, 1, 1))[:, None], np.zeros(16, dtype=int)


def flat() -> Any:
    return np.zeros((16, 2), dtype=np.float32), np.zeros(16, dtype=int)


def recipe(data: dict[str, Any], train: dict[str, Any] | None = None, prediction: str = "epsilon", seed: int = 0) -> Recipe:
    plain = {
        "name": "shifted", "formulation": "constrained_training", "model": {"call": CALLED + "Silent"}, "seed": seed,
        "data": {"call": CALLED + "examples", **data}, "schedule": {"timesteps": 100, "prediction": prediction},
        "train": {"steps": 200, "batch_size": 64, "lr": 1e-12, "log_every": 100, **(train or {})},
        "evaluation": {"samples": 0, "loss_draws": 8192, "metrics": []},
    }  # fmt: skip
    return Recipe.model_validate(plain)


def test_crops_are_trained_on_and_measured(tmp_path: Path, sampled: Sampled) -> None:
    cropped = recipe({"random_crop": 1}, prediction="v_prediction", seed=sampled.seed)
    wide = np.pad(IMAGE.astype(float), 1, mode="reflect")
    square = np.mean([np.square(wide[down : down + 3, right : right + 3]).mean() for down, right in product(range(3), repeat=2)])
    signal = noise_schedule(cropped, (1, 3, 3)).alphas_cumprod.double().numpy()
    result, points, *_ = run(cropped, tmp_path)
    known = float((signal + (1 - signal) * square).mean())
    plain = float((signal + (1 - signal) * np.square(IMAGE.astype(float)).mean()).mean())
    assert abs(known - plain) > 0.1 * known
    sampled.near("at the end", result.objective, known, rel=0.03)
    sampled.near("in training", float(points[100]["objective"]), known, rel=0.03)


def test_offsets_add_their_variance_to_the_noise(tmp_path: Path, sampled: Sampled) -> None:
    result, points, *_ = run(recipe({}, {"offset_noise": 0.5}, seed=sampled.seed), tmp_path)
    sampled.near("at the end", result.objective, 1.25, rel=0.05)
    sampled.near("in training", float(points[100]["objective"]), 1.25, rel=0.05)


@pytest.mark.parametrize(
    ("data", "train", "said"),
    [
        ({"call": CALLED + "flat", "random_crop": 1}, {}, r"data.random_crop must go with images .* samples of shape \(2,\)"),
        ({"call": CALLED + "flat"}, {"offset_noise": 0.1}, r"train.offset_noise must go with images .* samples of shape \(2,\)"),
        ({"random_crop": 3}, {}, r"random_crop must be less than the sides of the images, 3 x 3, .* but got 3; lower it"),
    ],
)
def test_what_has_no_room_for_it_is_refused(data: dict[str, Any], train: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=said):
        run(recipe(data, train), tmp_path)
