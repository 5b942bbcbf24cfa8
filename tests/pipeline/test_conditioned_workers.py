"""Trainings whose examples each have a condition of their own, on two workers: what one worker comes to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dualsweep.trainer.ray_shell.job import job_for
from dualsweep.trainer.ray_shell.slots import Slots
from dualsweep.trainer.recipe.recipe import Recipe
from tests.pipeline.conftest import trained_here
from tests.pipeline.hosted import points_of, slots, there
from tests.trainer import tiny
from tests.trainer.models.test_captions import images
from tests.trainer.models.test_captions import recipe_of as captioned
from tests.trainer.recipes import digits

__all__ = ["slots", "there"]
pytestmark = [pytest.mark.ray, pytest.mark.dear]

#: Shards of unequal sizes, with a point of every dual step.
TRAIN = {"steps": 50, "batch_size": 17, "lr": 2e-3, "log_every": 1, "condition_dropout": 0.2}
QUICK = {"samples": 0, "loss_draws": 16, "metrics": []}


def recipe_of(condition: str, there: Path, workers: int) -> Recipe:
    sections: dict[str, Any] = {"train": TRAIN, "evaluation": QUICK, "resources": {"workers": workers}}
    if condition == "labels":
        return digits(model={"condition": "labels"}, dual={"step_size": 0.05}, **sections)
    place, pictures = there / "text-to-image" / "pipeline", there / "pictures"
    if not place.exists():
        tiny.text_to_image(place.parent)
        images(pictures)
    pears = [{"name": "pears", "data": {"captions": ["*pear*"]}, "at_most": 0.5}]
    return captioned(str(place), str(pictures), constraints=pears, dual={"step_size": 0.05}, **sections)


def trajectories(points: list[dict[str, Any]], word: str) -> dict[str, np.ndarray]:
    """The metrics [50] whose names begin with the word, without the final point."""
    names = [name for name in points[0]["metrics"] if name.startswith(word)]
    return {name: np.array([point["metrics"][name] for point in points[:50]]) for name in names}


@pytest.mark.parametrize("condition", ["labels", "captions"])
def test_two_workers_come_to_the_multipliers_and_losses_of_one(condition: str, there: Path, slots: Slots) -> None:
    one = trained_here(recipe_of(condition, there, 1), there / f"one-{condition}")
    two = points_of(slots, job_for(recipe_of(condition, there, 2), f"out/two-{condition}", "judges"))
    assert max(each.max() for each in trajectories(one, "multiplier/").values()) > 0.1  # they were asked for something
    for word in ("multiplier/", "value/", "objective"):
        for name, expected in trajectories(one, word).items():
            assert np.abs(trajectories(two, word)[name] - expected).max() <= 1e-5 * np.abs(expected).max(), name
