"""The weights of losses in nats on every schedule, the edges among them: their sum is the KL of two Gaussians in closed form."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler

from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.models.flow import flow_schedule
from dualsweep.trainer.models.schedules import noise_schedule, own_schedule
from dualsweep.trainer.recipe.model import Model
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.terms.losses import information_weights, weighted_errors

P, Q = (0.4, 0.3), (-0.2, 0.7)  # mean, sd


def zero_snr(name, total=200, **options):
    return DDPMScheduler(total, beta_schedule=name, prediction_type="v_prediction", rescale_betas_zero_snr=True, **options)


def betas_of(signal, prediction):
    signal, before = np.asarray(signal), np.concatenate([[1.0], signal[:-1]])
    betas = 1 - signal / np.where(before > 0, before, 1.0)
    return DDPMScheduler(len(signal), trained_betas=betas.tolist(), prediction_type=prediction)


COSINE = np.cos(np.linspace(0.01, 1, 201)[:-1] * np.pi / 2) ** 2
SCHEDULES = {
    "ordinary": DDPMScheduler(200, beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction"),
    "linear to no signal": zero_snr("linear"),
    "scaled linear to no signal": zero_snr("scaled_linear", 1000),
    "cosine to no signal": zero_snr("squaredcos_cap_v2"),
    "no signal at many timesteps": betas_of([*COSINE, 0.0, 0.0], "v_prediction"),
    "no noise at first, noise predicted": betas_of([1.0, 1.0, *COSINE], "epsilon"),
    "no noise at first": betas_of([1.0, *COSINE], "v_prediction"),
    "both": betas_of([1.0, *COSINE, 0.0], "v_prediction"),
    "flow whose finest levels round to no noise": flow_schedule(8000, 1.0, clip_sample=False),
}


def errors(schedule):
    """E |difference of the exact predictions of P and Q|^2 at each timestep [T], over P noised to it; in double."""
    a = schedule.alphas_cumprod.double().numpy()
    variance = a * P[1] ** 2 + 1 - a
    lines = []
    for mean, sd in (P, Q):
        slope = np.sqrt(1 - a) / (a * sd**2 + 1 - a)  # of the noise in x, which is this slope times x - sqrt(a) mean
        if schedule.config.prediction_type == "v_prediction":  # v = sqrt(a) noise - sqrt(1 - a) clean
            gain = np.sqrt(a) * sd**2 / (a * sd**2 + 1 - a)
            slope, offset = np.sqrt(a) * slope - np.sqrt(1 - a) * gain, 0.0
            v_at_centre = -np.sqrt(1 - a) * mean
            offset = v_at_centre - slope * np.sqrt(a) * mean
        else:
            offset = -slope * np.sqrt(a) * mean
        lines.append((slope, offset))
    (slope, offset), (other, others) = lines
    shift = (slope - other) * np.sqrt(a) * P[0] + offset - others
    return (slope - other) ** 2 * variance + shift**2


def kl(a):
    """KL(P || Q), both noised to the cumulative alpha a."""
    (m, v), (n, w) = ((a**0.5 * mean, a * sd**2 + 1 - a) for mean, sd in (P, Q))
    return 0.5 * (v / w + (m - n) ** 2 / w - 1 + np.log(w / v))


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_weighted_errors_are_the_kl_of_two_gaussians(name):
    schedule = SCHEDULES[name]
    total = len(schedule.alphas_cumprod)
    for first in (0, total // 2):
        weights = information_weights(schedule, first).double().numpy()
        assert np.isfinite(weights).all() and (weights >= 0).all()
        kept = float(schedule.alphas_cumprod[first]) if first else 1.0
        assert (weights * errors(schedule)).mean() == pytest.approx(kl(kept), rel=0.02), first


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("weight", ["simple", "min_snr", "elbo"])
def test_every_weighted_error_is_finite(name, weight):
    schedule = SCHEDULES[name]
    t = torch.arange(len(schedule.alphas_cumprod))
    found = weighted_errors(schedule, torch.ones(len(t), 2), torch.zeros(len(t), 2), t, weight)
    assert bool(found.isfinite().all()) and bool((found >= 0).all()) and float(found.sum()) > 0


def test_from_pure_noise_on_the_kl_is_nothing():
    schedule = SCHEDULES["no signal at many timesteps"]
    assert float(information_weights(schedule, 200).sum()) == 0.0


def test_a_model_of_the_noise_without_signal_is_refused_by_name(tmp_path):
    place = DDPMScheduler(100, rescale_betas_zero_snr=True, prediction_type="epsilon")
    place.save_pretrained(str(tmp_path / "scheduler"))
    with pytest.raises(TrainingError, match=r"some signal at every timestep, but model.load: .* at timestep 99 .*v_prediction"):
        own_schedule(Model(load=str(tmp_path)))
    recipe = Recipe.model_validate({
        "name": "x", "formulation": "alignment", "model": {"call": "a:b", "shape": [2]}, "train": {"steps": 1},
        "schedule": {"timesteps": 20_000, "name": "linear"},
    })  # fmt: skip
    with pytest.raises(TrainingError, match=r"but schedule: 20000 timesteps of linear .* has none at timesteps 1"):
        noise_schedule(recipe, (2,))
