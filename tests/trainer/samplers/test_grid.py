"""DDIM, DDPM and the second-order multistep solver, against the published updates, diffusers and the truth."""

from __future__ import annotations

from functools import partial
from itertools import product

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler
from torch import Tensor, nn

from dualsweep.trainer.models.predictor import Predictor
from dualsweep.trainer.recipe.sampling import Sampling
from dualsweep.trainer.rng import Stream, normals
from dualsweep.trainer.samplers.grid import ancestral, clean_of, condensed, trailing, update
from dualsweep.trainer.samplers.sampling import sample
from dualsweep.trainer.samplers.shipped import ddim, dpmpp_2m
from dualsweep.trainer.samplers.walk import walk
from tests.trainer.samplers.gaussians import CHAINS, PREDICTIONS, Gaussian, exact, grid, moments, published, schedule_of

TOTALS, COUNTS = (50, 80, 128, 200, 300, 1000), (7, 15, 20, 29, 30, 31, 50, 70)
NARROW = Gaussian(0.2)
#: (T, n, sampler, prediction): none of these n divides T.
CELLS = [
    (80, 50, "ddim", "epsilon"), (80, 30, "ddim", "v_prediction"), (300, 70, "ddim", "flow"), (300, 7, "ddim", "epsilon"),
    (50, 29, "ddim", "v_prediction"), (200, 31, "ddim", "flow"), (1000, 15, "ddim", "epsilon"), (128, 20, "ddim", "flow"),
    (80, 30, "ddpm", "epsilon"), (300, 7, "ddpm", "v_prediction"), (50, 29, "ddpm", "flow"), (200, 15, "ddpm", "epsilon"),
]  # fmt: skip


def made(total: int, count: int, sampler: str, prediction: str, of: Gaussian) -> tuple[float, float, float]:
    """Mean of the first coordinate and the least and largest sd of a coordinate, without sampling."""
    schedule = schedule_of(prediction, total)
    model, chain = exact(of, schedule, prediction), CHAINS[sampler](schedule, count)
    mean, covariance = moments(lambda draws: walk(model, schedule, chain, draws), 1 + count)
    sd = np.sqrt(np.diag(covariance))
    return float(mean[0]), float(sd.min()), float(sd.max())


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
def test_moments_are_those_of_the_published_update_whatever_divides_the_timesteps(sampler, prediction):
    for total, count in product(TOTALS, (7, 29, 31, 50)):
        if count > total:
            continue
        signal = schedule_of(prediction, total).alphas_cumprod.double().numpy()[grid(total, count)]
        mean, sd = published(NARROW, signal, sampler)
        found, least, largest = made(total, count, sampler, prediction, NARROW)
        assert found == pytest.approx(mean, abs=2e-3), (total, count)
        assert [least, largest] == pytest.approx([sd, sd], rel=5e-3), (total, count)


@pytest.mark.parametrize(("total", "count", "sampler", "prediction"), CELLS)
def test_draws_have_these_moments(total, count, sampler, prediction, sampled):
    # 30,000 draws: sd 0.0012 for a mean over sd 0.2, 0.0029 of it for the sd over both coordinates.
    schedule = schedule_of(prediction, total)
    model, draws, sampling = exact(NARROW, schedule, prediction), 30_000, Sampling(sampler, count, 1.0)
    x = sample(model, schedule, range(draws), (2,), sampling=sampling, seed=sampled.seed, batch_size=draws).double()
    mean, sd = published(NARROW, schedule.alphas_cumprod.double().numpy()[grid(total, count)], sampler)
    sampled.near("mean", float(x[:, 0].mean()), mean, abs=0.01)
    sampled.near("sd", float(x.var(0).mean().sqrt()), sd, rel=0.02)


@pytest.mark.parametrize("total", TOTALS)
def test_grids_are_distinct_and_begin_at_noise(total):
    for count in (each for each in (1, 2, *COUNTS, total) if each <= total):
        assert list(trailing(total, count)) == grid(total, count)
        for timesteps in (trailing(total, count), condensed(total, count)):
            assert len(timesteps) == count and timesteps[0] == total - 1 and timesteps[-1] >= 0
            assert (np.diff(timesteps) < 0).all()
    assert condensed(total, total) == trailing(total, total)


# The second-order multistep solver.


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("sd", [0.2, 0.5])
def test_twenty_steps_of_second_order_have_the_datas_moments(sd, prediction):
    for total in TOTALS[2:]:
        mean, least, largest = made(total, 20, "dpmpp_2m", prediction, Gaussian(sd))
        assert [least, largest] == pytest.approx([sd, sd], rel=0.03), total
        assert mean == pytest.approx(1.5, abs=0.01), total


@pytest.mark.parametrize("sampler", ["ddim", "ddpm", "dpmpp_2m"])
def test_a_schedule_that_reaches_no_signal_and_no_noise_is_sampled(sampler):
    ends = 1 - np.array([1.0, *np.cos(np.linspace(0.01, 1, 199)[:-1] * np.pi / 2) ** 2, 0.0])
    betas = 1 - (1 - ends) / np.concatenate([[1.0], 1 - ends[:-1]])
    schedule = DDPMScheduler(200, trained_betas=betas.tolist(), prediction_type="v_prediction", clip_sample=False)
    assert float(schedule.alphas_cumprod[0]) == 1.0 and float(schedule.alphas_cumprod[-1]) == 0.0
    model = exact(NARROW, schedule, "v_prediction")
    for count in (20, 200):
        chain = CHAINS[sampler](schedule, count)
        mean, covariance = moments(partial(walk, model, schedule, chain), 1 + count)
        sd = np.sqrt(np.diag(covariance))
        if sampler != "dpmpp_2m":
            expected = published(NARROW, np.array([step.signal for step in chain if step.signal < 1]), sampler)
            assert [mean[0], *sd] == pytest.approx([expected[0], expected[1], expected[1]], rel=0.01)
        else:
            assert mean == pytest.approx([1.5, -1.0], abs=0.01) and sd == pytest.approx([0.2, 0.2], rel=0.03)


class Tilted(nn.Module):
    """The exact noise of N(m + λ w, sd^2 I): what an amortised alignment by a linear reward learns, affine in x for each λ."""

    def __init__(self, schedule: DDPMScheduler) -> None:
        super().__init__()
        self.signal = schedule.alphas_cumprod.double()

    def forward(self, x: Tensor, t: Tensor, multipliers: Tensor) -> Tensor:
        a = self.signal[t][:, None]
        mean = torch.tensor([0.3, -0.2]) + multipliers * torch.tensor([0.04, 0.02])
        noise: Tensor = (1 - a).sqrt() / (a * 0.2**2 + 1 - a) * (x - a.sqrt() * mean)
        return noise.float()


@pytest.mark.parametrize("multiplier", [0.0, 2.0, 10.0])
def test_an_amortised_model_is_sampled_at_each_multiplier(multiplier):
    schedule = schedule_of("epsilon", 200)
    model = Predictor(Tilted(schedule)).at(np.array([multiplier]))
    chain = dpmpp_2m.chain(schedule, 20)
    mean, covariance = moments(lambda draws: walk(model.guided, schedule, chain, draws), 1)
    assert mean == pytest.approx([0.3 + 0.04 * multiplier, -0.2 + 0.02 * multiplier], abs=0.01)
    assert np.sqrt(np.diag(covariance)) == pytest.approx([0.2, 0.2], rel=0.03)


# Beside diffusers, with predictions that are not affine.


def bent(x: Tensor, t: Tensor) -> Tensor:
    return torch.tanh(1.3 * x) + 0.2 * torch.cos(x.flip(-1) + t.view(-1, *[1] * (x.ndim - 1)) / 40)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("bounded", [{"clip_sample": True}, {"thresholding": True, "sample_max_value": 1.5}, {}])
def test_where_the_steps_divide_the_timesteps_ddim_is_that_of_diffusers(prediction, bounded):
    options = {"beta_schedule": "linear", "prediction_type": prediction, "timestep_spacing": "trailing", "clip_sample": False}
    theirs = DDIMScheduler(200, set_alpha_to_one=True, **{**options, **bounded})
    schedule = DDPMScheduler(200, **{**options, **bounded})
    x = expected = normals(0, Stream.SAMPLING, 0, range(4), (1, 3, 3))
    theirs.set_timesteps(20)
    for t in theirs.timesteps:
        # The noise is read from the bounded sample, as ancestral and multistep updates have it.
        expected = theirs.step(bent(expected, t), t, expected, use_clipped_model_output=True).prev_sample
    found = walk(bent, schedule, ddim.chain(schedule, 20), lambda _: x)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_a_step_of_ddpm_is_that_of_diffusers(prediction):
    schedule = DDPMScheduler(100, beta_schedule="linear", prediction_type=prediction, clip_sample=True)
    x = normals(0, Stream.SAMPLING, 0, range(4), (1, 3, 3))
    for t in (99, 40, 1):
        a, after = (float(schedule.alphas_cumprod[each]) for each in (t, t - 1))
        prediction_at = bent(x, torch.full((4,), t))
        ours = update(x, clean_of(schedule, a, x, prediction_at), a, after, ancestral(a, after))
        source = torch.Generator().manual_seed(t)
        theirs = schedule.step(prediction_at, t, x, generator=source).prev_sample
        noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(t))
        torch.testing.assert_close(ours + ancestral(a, after) * noise, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_the_multistep_solver_is_that_of_diffusers_on_our_timesteps(prediction):
    options = {"beta_schedule": "scaled_linear", "prediction_type": prediction}
    schedule = DDPMScheduler(300, clip_sample=False, **options)
    chain = dpmpp_2m.chain(schedule, 17)
    theirs = DPMSolverMultistepScheduler(300, algorithm_type="dpmsolver++", final_sigmas_type="zero", **options)
    theirs.set_timesteps(timesteps=[step.timestep for step in chain])
    x = expected = normals(0, Stream.SAMPLING, 0, range(4), (3,))
    for t in theirs.timesteps:
        expected = theirs.step(bent(expected, t), t, expected).prev_sample
    torch.testing.assert_close(walk(bent, schedule, chain, lambda _: x), expected, rtol=1e-4, atol=1e-4)


def test_samples_do_not_depend_on_the_batch():
    schedule = schedule_of("epsilon", 50)
    for sampler in ("dpmpp_2m", "ddim", "ddpm"):
        samples = [
            sample(exact(NARROW, schedule, "epsilon"), schedule, rows, (2,), sampling=Sampling(sampler, 7, 1.0), seed=3,
                   batch_size=size)
            for rows, size in ((range(70), 70), (range(70), 9), (range(40, 70), 11))
        ]  # fmt: skip
        assert torch.equal(samples[0], samples[1]) and torch.equal(samples[0][40:], samples[2])


def test_more_steps_than_timesteps_are_refused():
    schedule = schedule_of("epsilon", 50)
    with pytest.raises(ValueError, match="at most the schedule's 50 steps, but got 51; lower sample_steps"):
        dpmpp_2m.chain(schedule, 51)
