"""EDM against the closed form of a Gaussian, the schedulers of diffusers, and the paper's loss as an integral."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, EDMDPMSolverMultistepScheduler, EDMEulerScheduler
from torch import Tensor, nn

from dualsweep.trainer.data.splits import assemble
from dualsweep.trainer.engine.sample_command import restore
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.models.edm import edm_schedule, keys_of, lognormal, sigmas
from dualsweep.trainer.models.flow import flow_schedule
from dualsweep.trainer.models.predictor import Predictor
from dualsweep.trainer.models.schedules import noise_schedule, own_schedule
from dualsweep.trainer.recipe.model import EDM, Model, Schedule
from dualsweep.trainer.recipe.sampling import Sampling
from dualsweep.trainer.rng import Stream, normals
from dualsweep.trainer.samplers.chain import steps_of
from dualsweep.trainer.samplers.rollout import roll_out
from dualsweep.trainer.samplers.sampling import sample
from dualsweep.trainer.terms.losses import Noised, weighted_errors
from dualsweep.trainer.terms.timesteps import of_weight
from tests.margins import Sampled
from tests.trainer.engine.test_loop import run
from tests.trainer.models.test_build import train
from tests.trainer.recipes import digits

T, MEAN, SD = 401, 0.7, 0.3


def keys(**changed: float) -> dict[str, float]:
    return {**EDM, **changed}


class Network(nn.Module):
    """The F of the optimal denoiser D(y) = (s^2 y + sigma^2 m) / (s^2 + sigma^2) of N(m, s^2), written down from the paper."""

    def __init__(self, data: float = 0.5) -> None:
        super().__init__()
        self.data = data

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        sigma = (4 * t.double())[:, None].exp()
        total = sigma**2 + self.data**2
        y = x * total.sqrt()
        denoised = (SD**2 * y + sigma**2 * MEAN) / (SD**2 + sigma**2)
        found: Tensor = (denoised - self.data**2 / total * y) * total.sqrt() / (sigma * self.data)
        return found.to(x.dtype)


def model(data: float = 0.5) -> tuple[Predictor, DDPMScheduler]:
    schedule = edm_schedule(T, keys(sigma_data=data), clip_sample=False)
    return Predictor(Network(data)).under(schedule), schedule


@pytest.mark.parametrize("data", [0.5, 1.0, 0.3])
def test_the_optimal_denoiser_gives_the_exact_v_prediction(data: float) -> None:
    predictor, schedule = model(data)
    t = torch.tensor([0, 20, 200, 400])
    x = torch.randn(4, 1, generator=torch.Generator().manual_seed(0))
    a = schedule.alphas_cumprod[t].double()[:, None]
    away = (x - a.sqrt() * MEAN) / (a * SD**2 + 1 - a)
    noise, clean = (1 - a).sqrt() * away, MEAN + a.sqrt() * SD**2 * away
    torch.testing.assert_close(predictor(x, t).double(), a.sqrt() * noise - (1 - a).sqrt() * clean, rtol=1e-4, atol=1e-4)


def test_the_levels_are_those_of_diffusers() -> None:
    theirs = EDMEulerScheduler(sigma_min=0.01, sigma_max=50.0, rho=5.0)
    theirs.set_timesteps(T)
    ours = sigmas(edm_schedule(T, keys(sigma_min=0.01, sigma_max=50.0, rho=5.0), False)).float()
    torch.testing.assert_close(ours.flip(0), theirs.sigmas[:-1], rtol=1e-3, atol=0)


@pytest.mark.parametrize(("sampler", "kind"), [("ddim", EDMEulerScheduler), ("dpmpp_2m", EDMDPMSolverMultistepScheduler)])
def test_sampling_is_that_of_diffusers(sampler: str, kind: Any) -> None:
    predictor, schedule = model()
    ours = sample(predictor, schedule, range(6), (1,), sampling=Sampling(sampler, 21, 1.0), seed=3, batch_size=6)
    theirs = kind()
    theirs.set_timesteps(21)
    x = normals(3, Stream.SAMPLING, 0, range(6), (1,)) * theirs.init_noise_sigma
    for t in theirs.timesteps:
        output = Network()(theirs.scale_model_input(x, t), t.expand(6))
        x = theirs.step(output, t, x).prev_sample
    torch.testing.assert_close(ours, x, rtol=1e-3, atol=1e-3)


def test_the_second_order_solver_and_the_stochastic_one_have_the_datas_moments(sampled: Sampled) -> None:
    predictor, schedule = model()
    made = partial(sample, predictor, schedule, range(8000), (1,), seed=sampled.seed, batch_size=8000)
    samples = made(sampling=Sampling("dpmpp_2m", 40, 1.0))
    sampled.near("mean", samples.mean(), MEAN, abs=0.02)
    sampled.near("sd", samples.std(), SD, rel=0.05)
    chain = roll_out(
        predictor, steps_of(schedule, 100, 1.0), normals(sampled.seed, Stream.ROLLOUT, 0, range(8000), (100, 1))
    ).samples
    sampled.near("mean by ancestral steps", chain.mean(), MEAN, abs=0.02)
    sampled.near("sd by ancestral steps", chain.std(), SD, rel=0.08)


# The loss: E over ln sigma ~ N(p_mean, p_std^2) of (sigma^2 + d^2) / (sigma d)^2 |D - x|^2.


def of_the_paper(mean: float, std: float, data: float) -> float:
    """The loss of the optimal denoiser, whose squared error is s^2 sigma^2 / (s^2 + sigma^2), as an integral."""
    z = np.linspace(-8, 8, 20_001)
    sigma = np.exp(mean + std * z)
    error = SD**2 * sigma**2 / (SD**2 + sigma**2)
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    return float(np.trapezoid((sigma**2 + data**2) / (sigma * data) ** 2 * error * density, z))


SCHEDULES = {
    "edm": edm_schedule(T, keys(), False),
    "edm elsewhere": edm_schedule(T, keys(sigma_data=1.0, p_mean=0.3, p_std=0.8), False),
    "noise": DDPMScheduler(1000, beta_schedule="squaredcos_cap_v2"),
    "v": DDPMScheduler(1000, beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction"),
    "flow": flow_schedule(1000, 1.0, clip_sample=False),
}


def expected(schedule: DDPMScheduler, weight: str, evenly: bool = False) -> float:
    """The expectation of a weighted error of the optimal prediction, exact in x and noise."""
    t = torch.arange(len(schedule.alphas_cumprod))
    sigma = sigmas(schedule)
    error = SD**2 * sigma**2 / (SD**2 + sigma**2)  # of the sample; that of the noise is over sigma^2, that of v over 1 - a
    over = 1 - schedule.alphas_cumprod.double() if schedule.config.prediction_type == "v_prediction" else sigma**2
    off = (error / over).sqrt().float()[:, None]
    losses = weighted_errors(schedule, off, torch.zeros_like(off), t, weight, evenly=evenly).double()
    law = of_weight(schedule, weight).probabilities
    even = evenly or law is None
    return float(losses.mean() if even else losses @ torch.from_numpy(law))


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("evenly", [False, True])
def test_the_weight_of_edm_is_the_papers_loss_on_any_schedule(name: str, evenly: bool) -> None:
    own = keys_of(SCHEDULES[name]) or EDM
    known = of_the_paper(own["p_mean"], own["p_std"], own["sigma_data"])
    assert expected(SCHEDULES[name], "edm", evenly) == pytest.approx(known, rel=5e-3)


def test_under_edm_the_simple_loss_is_the_papers_and_the_error_of_its_network() -> None:
    predictor, schedule = model()
    assert expected(schedule, "simple") == pytest.approx(of_the_paper(-1.2, 1.2, 0.5), rel=5e-3)
    x, noise, t = torch.randn(5, 1), torch.randn(5, 1), torch.tensor([0, 50, 200, 300, 400])
    noised = Noised(schedule, x, noise, t)
    losses = weighted_errors(schedule, predictor(noised.noisy, t), noised.target, t, "simple")
    sigma = sigmas(schedule)[t][:, None]
    total, y = sigma**2 + 0.25, x + sigma * noise
    target = (x - 0.25 / total * y) * total.sqrt() / (sigma * 0.5)
    wanted = (Network()(y / total.sqrt(), sigma.log()[:, 0] / 4) - target).square().flatten()
    torch.testing.assert_close(losses.double(), wanted, rtol=2e-3, atol=2e-3)


def test_the_weight_of_min_snr_is_its_own_on_the_error_of_the_sample() -> None:
    for name, schedule in SCHEDULES.items():
        sigma = sigmas(schedule)
        error = SD**2 * sigma**2 / (SD**2 + sigma**2)
        kept = sigma**-2 > 1e-8
        known = float((sigma**-2).clamp(max=5.0)[kept] @ error[kept]) / len(sigma)
        assert expected(schedule, "min_snr") == pytest.approx(known, rel=1e-3), name


def test_timesteps_are_drawn_by_the_lognormal_and_in_strata() -> None:
    schedule = SCHEDULES["edm"]
    law = of_weight(schedule, "simple")
    assert of_weight(schedule, "elbo").probabilities is None and of_weight(SCHEDULES["noise"], "simple").probabilities is None
    drawn = law.at(np.arange(200_000) + 0.5, 200_000)
    assert (np.diff(drawn) >= 0).all() and drawn.max() < T
    logs = sigmas(schedule).log().numpy()[drawn]
    assert [logs.mean(), logs.std()] == pytest.approx([-1.2, 1.2], abs=5e-3)
    ones = lognormal(schedule, -1.2, 1.2)
    assert float(ones.sum()) == pytest.approx(1.0) and bool((ones >= 0).all())


class Silent(nn.Module):
    """F = 0, whatever is asked: D(y) = c_skip y."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self.weight * x


def test_the_values_of_a_run_are_the_papers_losses_in_training_and_at_the_end(
    tmp_path: Path, sampled: Sampled
) -> None:  # fmt: skip
    recipe = digits(
        seed=sampled.seed, constraints=[], schedule={"name": "edm", "timesteps": T},
        model={"unet": None, "call": "tests.trainer.models.test_edm:Silent"},
        train={"steps": 200, "lr": 1e-12, "batch_size": 64, "log_every": 100}, evaluation={"samples": 0, "loss_draws": 8192},
    )  # fmt: skip
    result, points, *_ = run(recipe, tmp_path)
    data = assemble(recipe).examples
    square = float(data.fetch(np.arange(len(data))).double().square().mean())
    schedule = edm_schedule(T, keys(), False)
    sigma, law = sigmas(schedule), lognormal(schedule, -1.2, 1.2)
    skip, weight = 0.25 / (sigma**2 + 0.25), (sigma**2 + 0.25) / (0.25 * sigma**2)
    known = float(law @ (weight * ((1 - skip) ** 2 * square + skip**2 * sigma**2)))
    sampled.near("objective", result.objective, known, rel=0.02)
    sampled.near("in training", float(points[100]["objective"]), known, rel=0.02)


def test_a_model_of_edm_trains_is_loaded_as_one_and_refuses_another_schedule(tmp_path: Path) -> None:
    recipe = digits(schedule={"name": "edm", "timesteps": 50, "sigma_data": 0.6})
    result = train(recipe, tmp_path / "a")
    assert np.isfinite(result.objective)
    loaded, schedule, *_ = restore(str(result.checkpoint))
    assert torch.equal(schedule.alphas_cumprod, noise_schedule(recipe, (1, 8, 8)).alphas_cumprod)
    assert keys_of(schedule) == keys(sigma_data=0.6) and schedule.config.clip_sample and loaded.preconditioning is not None
    plain = recipe.model_dump(mode="json") | {"model": {"load": str(tmp_path / "a")}, "schedule": None}
    again = restore(str(train(type(recipe).model_validate(plain), tmp_path / "b").checkpoint))
    assert torch.equal(again.schedule.alphas_cumprod, schedule.alphas_cumprod)
    other = type(recipe).model_validate(plain | {"schedule": {"timesteps": 50}})
    with pytest.raises(TrainingError, match=r"must be what the loaded model predicts, edm, but got epsilon .* write name: edm"):
        noise_schedule(other, (1, 8, 8))


def test_a_pipelines_edm_scheduler_is_understood_and_another_form_refused(tmp_path: Path) -> None:
    EDMEulerScheduler(sigma_max=60.0, num_train_timesteps=100).save_pretrained(str(tmp_path / "scheduler"))
    own = own_schedule(Model(load=str(tmp_path)))
    assert own is not None and keys_of(own) == keys(sigma_max=60.0) and len(own.alphas_cumprod) == 100
    EDMEulerScheduler(sigma_schedule="exponential").save_pretrained(str(tmp_path / "scheduler"))
    with pytest.raises(TrainingError, match=r"or EDM with levels by rho and prediction_type epsilon, but .* has EDMEuler"):
        own_schedule(Model(load=str(tmp_path)))


@pytest.mark.parametrize(
    "wrong",
    [{"rho": 3.0}, {"name": "edm", "prediction": "flow"}, {"name": "linear", "p_std": 1.0}, {"name": "edm", "sigma_max": 0.001}],
)
def test_keys_that_do_not_go_together_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"must (go with name edm|be left out|be above sigma_min).*(drop it|raise it)"):
        Schedule.model_validate(wrong)
