"""The chain of Gaussian steps: predicted samples, densities of the noising process."""

import math

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from scipy.stats import multivariate_normal

from dualsweep.trainer.models.schedules import noise_schedule
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.samplers.chain import steps_of
from dualsweep.trainer.samplers.rollout import revisit, roll_out
from tests.known import models


def path_of(prediction="epsilon", count=7):
    recipe = {
        "name": "x", "formulation": "alignment", "model": {"call": "a:b", "shape": [2]}, "train": {"steps": 1},
        "schedule": {"timesteps": models.T, "prediction": prediction},
    }  # fmt: skip
    steps = steps_of(noise_schedule(Recipe.model_validate(recipe), (2,)), count, 1.0)
    noise = torch.randn(5, count, 2, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return roll_out(models.plane(), steps, noise)


def test_the_predicted_sample_is_that_of_the_prediction():
    path = path_of()
    model = models.plane()
    for number, (state, predicted) in enumerate(zip(path.states, path.predicted(), strict=True)):
        a, t = path.steps.signal[number], torch.full((5,), path.steps.timesteps[number])
        expected = (state - (1 - a) ** 0.5 * model(state, t).detach()) / a**0.5
        torch.testing.assert_close(predicted, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("number", [0, 3, 5])
def test_noising_densities_are_those_of_the_schedule(number):
    path = path_of()
    before, after = path.states[number].double().numpy(), path.states[number + 1].double().numpy()
    ratio = path.steps.signal[number] / path.steps.next_signal[number]
    exact = [multivariate_normal.logpdf(x, ratio**0.5 * y, (1 - ratio) * np.eye(2)) for x, y in zip(before, after, strict=True)]
    constant = -np.log(2 * np.pi * (1 - ratio))
    np.testing.assert_allclose(path.noising_log_likelihoods()[:, number] + constant, exact, rtol=1e-3, atol=1e-3)


def test_a_frozen_model_is_asked_once_at_the_same_states():
    path, other, asked = path_of(), models.free_plane(), []

    def frozen(x, t):
        asked.append(t)
        return other(x, t).detach()

    first = path.divergences(frozen)
    again = revisit(models.plane(), path).divergences(frozen)
    assert len(asked) == len(path.steps) and path.under(frozen).means is path.known[frozen]
    torch.testing.assert_close(again, first)
    assert roll_out(models.plane(), path.steps, torch.randn(5, 7, 2)).known == {}


def test_a_timestep_without_noise_is_no_step_and_more_steps_than_have_noise_are_refused() -> None:
    schedule = DDPMScheduler(num_train_timesteps=5, trained_betas=[0.0, 0.2, 0.4, 0.6, 0.9], clip_sample=False)
    steps = steps_of(schedule, 4, 1.0)
    assert steps.timesteps == (4, 3, 2, 1) and all(map(math.isfinite, (*steps.kept, *steps.sigma)))
    with pytest.raises(ValueError, match=r"rollout\.steps must be at most .*, 4 of 5, but got 5; lower it"):
        steps_of(schedule, 5, 1.0)
