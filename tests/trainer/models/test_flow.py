"""Flow matching against the closed form of a Gaussian, and against Euler steps of the flow itself."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, FlowMatchEulerDiscreteScheduler
from torch import Tensor, nn

from dualsweep.trainer.engine.sample_command import restore
from dualsweep.trainer.models.flow import flow_schedule, is_flow, levels
from dualsweep.trainer.models.predictor import Predictor
from dualsweep.trainer.models.schedules import own_schedule
from dualsweep.trainer.recipe.model import Model, Schedule
from dualsweep.trainer.recipe.sampling import Sampling
from dualsweep.trainer.rng import Stream, normals
from dualsweep.trainer.samplers.chain import steps_of
from dualsweep.trainer.samplers.rollout import roll_out
from dualsweep.trainer.samplers.sampling import sample
from dualsweep.trainer.terms.losses import Noised, weighted_errors
from tests.trainer.models.test_build import train
from tests.trainer.recipes import digits

T, MEAN, VARIANCE = 400, 0.7, 0.09


class Velocity(nn.Module):
    """E[noise - x | x_s] for x ~ N(MEAN, VARIANCE)."""

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        s = (t / T).double()[:, None]
        away = (x - (1 - s) * MEAN) / ((1 - s) ** 2 * VARIANCE + s**2)
        return (s * away - MEAN - (1 - s) * VARIANCE * away).to(x.dtype)


def model(shift: float = 1.0) -> tuple[Predictor, DDPMScheduler]:
    schedule = flow_schedule(T, shift, clip_sample=False)
    return Predictor(Velocity()).under(schedule), schedule


def test_a_model_is_put_under_its_schedule_where_its_weights_are():
    there = Predictor(nn.Linear(1, 1)).to("meta").under(model()[1])
    assert there.preconditioning is not None and there.preconditioning.device.type == "meta"


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_the_velocity_gives_the_exact_v_prediction(shift):
    predictor, schedule = model(shift)
    t = torch.tensor([0, 20, 200, 399])
    x = torch.randn(4, 1, generator=torch.Generator().manual_seed(0))
    a = schedule.alphas_cumprod[t][:, None]
    away = (x - a.sqrt() * MEAN) / (a * VARIANCE + 1 - a)
    noise, clean = (1 - a).sqrt() * away, MEAN + a.sqrt() * VARIANCE * away
    torch.testing.assert_close(predictor(x, t), a.sqrt() * noise - (1 - a).sqrt() * clean, rtol=1e-4, atol=1e-4)


def test_the_levels_are_those_of_diffusers():
    theirs = FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=3.0)
    ours = levels(flow_schedule(1000, 3.0, clip_sample=False))
    between = (theirs.sigmas[:-1] + theirs.sigmas[1:]).flip(0) / 2  # ours lie half a step below each of theirs
    torch.testing.assert_close(ours[1:], between[-999:].to(ours), rtol=1e-3, atol=2e-5)


def test_the_simple_loss_is_the_squared_error_of_the_velocity():
    predictor, schedule = model()
    x, noise, t = torch.randn(5, 1), torch.randn(5, 1), torch.tensor([0, 50, 100, 300, 399])
    noised = Noised(schedule, x, noise, t)
    losses = weighted_errors(schedule, predictor(noised.noisy, t), noised.target, t, "simple")
    s = levels(schedule)[t]
    path = (1 - s)[:, None] * x + s[:, None] * noise
    expected = (Velocity()(path, s * T) - (noise - x)).square().flatten()
    torch.testing.assert_close(losses, expected, rtol=1e-3, atol=1e-3)


def test_deterministic_sampling_is_eulers_method_on_the_flow():
    predictor, schedule = model()
    noise = normals(3, Stream.SAMPLING, 0, range(6), (1,))
    samples = sample(predictor, schedule, range(6), (1,), sampling=Sampling("ddim", 10, 1.0), seed=3, batch_size=6)
    s = [*levels(schedule)[T // 10 - 1 :: T // 10].flip(0).tolist(), 0.0]
    x = noise * (s[0] ** 2 + (1 - s[0]) ** 2) ** 0.5
    for now, after in pairwise(s):
        x = x + (after - now) * Velocity()(x, torch.full((6,), now * T))
    torch.testing.assert_close(samples, x, rtol=1e-3, atol=1e-3)


def test_the_stochastic_sampler_has_the_datas_moments(sampled):
    predictor, schedule = model()
    steps = steps_of(schedule, 200, 1.0)
    samples = roll_out(predictor, steps, normals(sampled.seed, Stream.ROLLOUT, 0, range(8000), (200, 1))).samples
    sampled.near("mean", samples.mean(), MEAN, abs=0.02)
    sampled.near("variance", samples.var(), VARIANCE, rel=0.08)


def test_a_flow_model_trains_and_is_loaded_as_one(tmp_path: Path):
    recipe = digits(schedule={"timesteps": 50, "prediction": "flow", "shift": 2.0})
    result = train(recipe, tmp_path / "a")
    assert np.isfinite(result.objective)
    loaded, schedule, *_ = restore(str(result.checkpoint))
    assert is_flow(schedule) and loaded.preconditioning is not None
    torch.testing.assert_close(loaded.preconditioning[1], 50 * levels(flow_schedule(50, 2.0, True)))
    plain = recipe.model_dump(mode="json") | {"model": {"load": str(tmp_path / "a")}, "schedule": None}
    again = train(type(recipe).model_validate(plain), tmp_path / "b")
    assert is_flow(restore(str(again.checkpoint))[1])


def test_a_pipelines_flow_scheduler_is_understood(tmp_path: Path):
    FlowMatchEulerDiscreteScheduler(num_train_timesteps=100, shift=3.0).save_pretrained(str(tmp_path / "scheduler"))
    own = own_schedule(Model(load=str(tmp_path)))
    assert own is not None and is_flow(own)
    torch.testing.assert_close(own.alphas_cumprod, flow_schedule(100, 3.0, False).alphas_cumprod)


@pytest.mark.parametrize("wrong", [{"prediction": "flow", "name": "linear"}, {"shift": 2.0}])
def test_betas_and_shifts_do_not_mix(wrong):
    with pytest.raises(ValueError, match=r"must go with .* drop it"):
        Schedule.model_validate(wrong)
