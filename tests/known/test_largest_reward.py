"""The largest reward within a distance of the pretrained model: a reward as objective, the path-wise KL as constraint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dualsweep.trainer.models.schedules import noise_schedule
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.samplers.chain import steps_of
from tests.known import exact, models
from tests.known.cases import CALL, document
from tests.known.test_answers import train
from tests.margins import Sampled

BUDGET = 0.3
ESTIMATORS: dict[str, tuple[str, dict[str, Any], int]] = {
    "backpropagation": ("both", {"batch_size": 256}, 500),
    "dag": ("black_box_both", {"batch_size": 256, "gradient": "dag", "flow": {"lr": 0.005}}, 500),
}


@pytest.mark.parametrize("estimator", ["backpropagation", pytest.param("dag", marks=pytest.mark.dear)])  # DAG's: test_balance.py
def test_the_largest_reward_within_a_distance(estimator: str, tmp_path: Path, sampled: Sampled) -> None:
    """Within KL <= b of N(m, S) the mean of a.x is largest at the shift S a / l with l = sqrt(a.S a / 2b), by sqrt(2b a.S a)."""
    reward, rollout, steps = ESTIMATORS[estimator]
    plain = document(
        "alignment", "plane", [2], [{"name": "near", "path_kl": {}, "at_most": BUDGET}],
        objective={"reward": {"call": CALL(reward)}, "maximize": True},
        dual={"rule": "ascent", "step_size": 1.0, "every": 5, "staleness": 0, "start": 1.0, "average": 0.5},
        train={"steps": steps, "lr": 0.02, "lr_schedule": "wsd", "clip": None, "ema": 0.99},
        rollout={"steps": 10, "normalize": False, **rollout},
    )  # fmt: skip
    spec = Recipe.model_validate(plain)
    chain = steps_of(noise_schedule(spec, (2,)), spec.rollout.steps, spec.rollout.eta)
    mean, covariance = exact.sampler_moments(models.Gaussian(*models.PLANE), chain)
    variance = float(covariance.sum())  # of a.x for a = (1, 1)
    result = train(spec, tmp_path, sampled.seed)
    tolerance = 0.05 if estimator == "backpropagation" else 0.10
    sampled.near("reward", result.objective, mean.sum() + np.sqrt(2 * BUDGET * variance), rel=tolerance)
    sampled.near("multiplier", result.constraints["near"].multiplier, np.sqrt(variance / (2 * BUDGET)), rel=tolerance)
    sampled.near("KL", result.constraints["near"].value, BUDGET, rel=tolerance)
