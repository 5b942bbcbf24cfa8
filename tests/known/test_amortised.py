"""Amortised alignment and fine-tuning with known fronts: objective and values at all multipliers of the range."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dualsweep.trainer.amortised.front import FILE, AmortisedFront
from dualsweep.trainer.models.schedules import noise_schedule
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.samplers.chain import steps_of
from tests.known import exact, models
from tests.known.cases import REWARDS, THRESHOLDS, alignment, document
from tests.known.test_answers import train


def front_in(folder: Path) -> AmortisedFront:
    return AmortisedFront.from_json(json.loads((folder / FILE).read_text()))


def aligned(count: int, prefix: str, gradient: str, steps: int, batch: int) -> dict[str, Any]:
    plain = alignment(
        count, prefix, amortised={"multipliers": {"low": 0.05, "high": 1.5}, "points": 9},
        train={"steps": steps, "lr": 0.02, "lr_schedule": "wsd", "clip": None, "ema": 0.99},
        rollout={"steps": 10, "batch_size": batch, "gradient": gradient, "normalize": False},
    )  # fmt: skip
    return plain | {"model": {"call": f"tests.known.models:tilted_plane_{count}", "shape": [2]}}


@pytest.mark.parametrize(
    ("count", "prefix", "gradient", "steps", "batch"),
    [
        (1, "", "backpropagation", 300, 96),
        (2, "", "backpropagation", 500, 128),
        pytest.param(1, "black_box_", "policy_gradient", 600, 768, marks=pytest.mark.dear),  # its gradient: test_answers.py
    ],
)
def test_alignment_has_the_exact_kl_and_reward_at_every_multiplier(tmp_path, sampled, count, prefix, gradient, steps, batch):
    recipe = Recipe.model_validate(aligned(count, prefix, gradient, steps, batch))
    result = train(recipe, tmp_path, sampled.seed)
    chain = steps_of(noise_schedule(recipe, (2,)), recipe.rollout.steps, recipe.rollout.eta)
    mean, covariance = exact.sampler_moments(models.Gaussian(*models.PLANE), chain)
    names = list(REWARDS)[:count]
    rewards = np.array([REWARDS[name] for name in names])
    hessian = rewards @ covariance @ rewards.T
    compared = 0
    for number, point in enumerate(front_in(tmp_path).points):
        multipliers = np.array([point.multipliers[name] for name in names])
        if multipliers.max() < 0.2:
            continue  # a KL of next to nothing has no relative error
        compared += 1
        wanted = rewards @ mean + hessian @ multipliers
        tolerance = 0.05 * np.abs(wanted).max() + 5 * max(point.value_errors.values())
        kl = 0.5 * multipliers @ hessian @ multipliers
        sampled.near(f"KL at point {number}", point.objective, kl, rel=0.05 if not prefix else 0.12)
        sampled.near(f"rewards at point {number}", list(point.values.values()), wanted, abs=tolerance)
    assert compared >= 4
    wanted, kl = exact.alignment(mean, covariance, rewards, np.array([THRESHOLDS[name] for name in names]))
    found = np.array([each.multiplier for each in result.constraints.values()])
    sampled.near("multipliers", found, wanted, rel=0.05 if not prefix else 0.1)
    sampled.near("KL", result.objective, kl, rel=0.1)
    assert result.status in ("converged", "out_of_steps") and all(
        each.violation <= 2 * each.slack_error for each in result.constraints.values()
    )


@pytest.mark.dear  # as alignment above
def test_fine_tuning_has_the_exact_distance_and_loss_at_every_multiplier(tmp_path, sampled):
    """With one covariance the best offset is a share 1 / (1 + λ) of the way from the pretrained model's to the data's.

    So the distance is D / (1 + λ)^2 and the loss D (λ / (1 + λ))^2 above its least, D the distance of the two ends.
    """
    closeness = {"name": "close", "closeness": {"to": "pretrained", "samples": 1024}, "at_most": 0.05}
    plain = document(
        "constrained_fine_tuning", "ShrunkPlane", [2], [closeness], data={"call": "tests.known.models:plane_points"},
        train={"steps": 600, "batch_size": 2048, "lr": 0.03, "lr_schedule": "wsd", "clip": None, "ema": 0.99},
        amortised={"multipliers": {"low": 0.05, "high": 4.0}, "points": 7},
        evaluation={"samples": 0, "loss_draws": 200_000, "batch_size": 20_000},
    )  # fmt: skip
    result = train(Recipe.model_validate(plain), tmp_path, sampled.seed)
    offsets = [models.Gaussian(*each).offset.detach() for each in (models.PLANE, models.AWAY)]
    distance = float((offsets[0] - offsets[1]).square().mean())
    points = front_in(tmp_path).points
    for number, point in enumerate(points):
        price = point.multipliers["close"]
        exact_distance = distance / (1 + price) ** 2
        sampled.near(f"distance at point {number}", point.values["close"], exact_distance, rel=0.05, abs=0.01 * distance)
        above = point.objective - points[0].objective
        exact_loss = distance * (price / (1 + price)) ** 2
        sampled.near(f"loss at point {number}", above, exact_loss, abs=0.025 * distance)
    wanted = (distance / 0.05) ** 0.5 - 1
    sampled.near("multiplier", result.constraints["close"].multiplier, wanted, rel=0.08)
    sampled.near("value", result.constraints["close"].value, 0.05, rel=0.05)
