"""Unequal shards, 1, 2 and 3 Ray Train workers: the multipliers' trajectory is that of one process at the same global batch."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import ray

from dualsweep.trainer.ray_shell.launch import train
from dualsweep.trainer.recipe.recipe import Recipe
from tests.pipeline.conftest import RECIPE

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def three_cpus():
    """A local Ray that counts three CPUs, whatever the machine has."""
    ray.init(address="local", num_cpus=3, include_dashboard=True, log_to_driver=False)
    yield
    ray.shutdown()


def trajectory(folder, workers):
    plain: dict[str, Any] = copy.deepcopy(RECIPE)
    plain["train"] |= {"batch_size": 17, "log_every": 1, "steps": 50}
    plain |= {"resources": {"workers": workers}, "evaluation": {"samples": 0, "loss_draws": 16}}
    points = []
    result = train(Recipe.model_validate(plain), str(folder / str(workers)), lambda payload: points.extend(payload["points"]))
    assert result.status in ("converged", "out_of_steps"), result.reason
    return {point["step"]: [point["metrics"][f"multiplier/{name}"] for name in ("four", "five")] for point in points[:50]}


def test_the_first_50_dual_steps_are_those_of_one_process(tmp_path, three_cpus):
    one = trajectory(tmp_path, 1)
    assert len(one) == 50 and max(value for values in one.values() for value in values) > 0.1
    # Relative to the largest multiplier of the trajectory: one that comes down to almost nothing keeps the rounding errors
    # of what it was.
    largest = max(value for values in one.values() for value in values)
    for workers in (2, 3):
        other = trajectory(tmp_path, workers)
        assert other.keys() == one.keys()
        worst = max(abs(a - b) for step in one for a, b in zip(one[step], other[step], strict=True))
        assert worst <= 1e-5 * largest, f"{workers} workers"
