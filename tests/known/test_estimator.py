"""The point-wise KL of two Gaussians from their predictions alone, against the closed form ([CCA] Lemma 2)."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dualsweep.trainer.models.schedules import noise_schedule
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.terms.losses import Noised, weighted_errors
from tests.known import exact, models
from tests.margins import Sampled

PAIRS = {
    "narrow to wide": (([-0.66], [[0.105]]), models.RIGHT),
    "wide to narrow": (([-0.66], [[0.105]]), models.LEFT),
    "in the plane": (models.PLANE, ([0.8, 0.6], [[0.6, -0.2], [-0.2, 0.9]])),
    "shifted only": (([0.0], [[0.5]]), ([0.7], [[0.5]])),
}


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize(("prediction", "start"), [("epsilon", 0), ("v_prediction", 0), ("v_prediction", models.T // 10)])
def test_it_is_within_two_per_cent(pair: str, prediction: str, start: int, sampled: Sampled) -> None:
    p, q = PAIRS[pair]
    size = len(p[0])
    recipe = Recipe.model_validate(
        {
            "name": "x", "formulation": "alignment", "model": {"call": "a:b", "shape": [size]}, "train": {"steps": 1},
            "schedule": {"timesteps": models.T, "prediction": prediction},
        }
    )  # fmt: skip
    schedule = noise_schedule(recipe, (size,))
    source, draws = torch.Generator().manual_seed(sampled.seed), 800_000
    spread = torch.linalg.cholesky(torch.tensor(p[1]))
    x = torch.tensor(p[0]) + torch.randn(draws, size, generator=source) @ spread.T
    noised = Noised(schedule, x, torch.randn(draws, size, generator=source), torch.arange(draws) % models.T)
    signal = schedule.alphas_cumprod[noised.t][:, None]
    with torch.no_grad():
        both = [models.Gaussian(*each)(noised.noisy, noised.t) for each in (p, q)]
    if prediction == "v_prediction":  # v = (eps - sqrt(1 - a) x_t) / sqrt(a)
        both = [(each - (1 - signal).sqrt() * noised.noisy) / signal.sqrt() for each in both]
    kl = float(weighted_errors(schedule, both[0], both[1], noised.t, "elbo", start).mean())
    kept = float(schedule.alphas_cumprod[start]) if start else 1.0
    (mean, covariance), (other_mean, other_covariance) = (
        (kept**0.5 * np.array(each[0]), kept * np.array(each[1]) + (1 - kept) * np.eye(size)) for each in (p, q)
    )
    wanted = exact.gaussian_kl(mean, covariance, other_mean, other_covariance)
    sampled.near("KL", kl, wanted, rel=0.02)
