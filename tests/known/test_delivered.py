"""What an alignment measures is what it delivers, in closed form: the KL of the samples, the rewards, and how wide they are.

Predictions are affine in x, a slope and an offset for each timestep, so that the mean and the variance of every state follow from
the product's own steps.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from torch import nn

from tests.known import exact
from tests.known.cases import CALL, document
from tests.known.test_answers import train
from trainer.generate import draw, restore
from trainer.models.schedules import noise_schedule
from trainer.recipe import Recipe
from trainer.samplers.chain import Steps, steps_of
from trainer.samplers.rollout import roll_out

NARROW = 0.025**0.5


@cache
def schedule_of(timesteps: int, **given: str) -> DDPMScheduler:
    plain = document("alignment", "left", [1], [], train={"steps": 1}) | {"schedule": {"timesteps": timesteps, **given}}
    return noise_schedule(Recipe.model_validate(plain), (1,))


class Line(nn.Module):
    """The prediction of N(mean, deviation^2) on the line under a schedule; each timestep's slope and offset are trained."""

    def __init__(self, schedule: DDPMScheduler, mean: float, deviation: float) -> None:
        super().__init__()
        a = schedule.alphas_cumprod.double()
        slope = (1 - a).sqrt() / (a * deviation**2 + 1 - a)
        offset = -slope * a.sqrt() * mean
        if schedule.config.prediction_type == "v_prediction":  # v = (noise - sqrt(1 - a) x) / sqrt(a)
            slope, offset = (slope - (1 - a).sqrt()) / a.sqrt(), offset / a.sqrt()
        self.slope, self.offset = nn.Parameter(slope.float()), nn.Parameter(offset.float())

    def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return self.slope[t, None] * x + self.offset[t, None]


def moments(model: nn.Module, steps: Steps) -> tuple[exact.Array, exact.Array]:
    """Of the delivered samples."""
    return exact.propagated(exact.affine(model, steps, 1), steps, np.eye(1))[-1]


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "flow"])
@pytest.mark.parametrize("timesteps", [50, 100, 200, 300, 1000])
def test_the_pretrained_chain_delivers_the_datas_width(timesteps: int, prediction: str) -> None:
    schedule = schedule_of(timesteps, prediction=prediction)
    for count, within in ((15, 0.14), (40, 0.07)):
        for deviation in (0.1, NARROW, 0.2, 0.5, 1.0):
            mean, covariance = moments(Line(schedule, -1.0, deviation), steps_of(schedule, count, 1.0))
            assert covariance[0, 0] ** 0.5 / deviation == pytest.approx(1, abs=within), (count, deviation)
            assert mean[0] == pytest.approx(-1, abs=0.02)


def aligned(eta: float, count: int, updates: int, price: float = 2.0) -> list[tuple[float, float]]:
    """The reported and the delivered KL on the way, as a chain of `count` steps is aligned to price x the sample."""
    schedule = schedule_of(100)
    steps = steps_of(schedule, count, eta)
    model, pretrained = Line(schedule, -1.0, NARROW), Line(schedule, -1.0, NARROW).requires_grad_(requires_grad=False)
    before, start = exact.affine(pretrained, steps, 1), moments(pretrained, steps)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    rate = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda done: min(1.0, 4 * (1 - done / updates)))
    source, found = torch.Generator().manual_seed(0), []
    for done in range(1, updates + 1):
        path = roll_out(model, steps, torch.randn(64, count, 1, generator=source))
        loss = path.divergences(pretrained).sum(1).mean() - price * path.samples.mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        rate.step()
        if done < 5 or done % 10 == 0:
            after = exact.affine(model, steps, 1)
            delivered = exact.propagated(after, steps, np.eye(1))[-1]
            found.append((exact.path_kl(after, before, steps), exact.gaussian_kl(*delivered, *start)))
    return found


@pytest.mark.parametrize("count", [6, 10, 15, 40])
def test_the_reported_kl_is_the_delivered_one_at_the_optimum(count: int) -> None:
    kls = np.array(aligned(1.0, count, 200))
    assert 0.90 <= kls[-1, 1] / kls[-1, 0] <= 1.05
    assert kls[-1, 0] > 0.02 and (kls[:, 1] <= 1.05 * kls[:, 0]).all()


@pytest.mark.parametrize("eta", [0.2, 0.5])
def test_the_reported_kl_bounds_the_delivered_one_on_the_way(eta: float) -> None:
    kls = np.array(aligned(eta, 10, 100, price=20.0))
    assert kls[:, 1].max() > 0.01 and (kls[:, 1] <= 1.05 * kls[:, 0]).all()


def test_a_shift_of_the_last_mean_alone_costs_more_than_it_moves() -> None:
    schedule = schedule_of(100)
    for count in (2, 6, 15):
        steps = steps_of(schedule, count, 1.0)
        before = exact.affine(Line(schedule, -1.0, NARROW), steps, 1)
        after = [*before[:-1], (before[-1][0], before[-1][1] + 0.1)]
        start, end = (exact.propagated(moves, steps, np.eye(1))[-1] for moves in (before, after))
        assert exact.path_kl(after, before, steps) > 5 * exact.gaussian_kl(*end, *start)


@pytest.mark.parametrize("gradient", ["backpropagation", "policy_gradient", "dag"])
def test_the_reward_that_a_run_reports_is_that_of_fresh_samples(gradient: str, tmp_path: Path) -> None:
    reward = "first" if gradient == "backpropagation" else "black_box_first"
    plain = document(
        "alignment", "left", [1], [{"name": "right", "reward": {"call": CALL(reward)}, "at_least": -0.9}],
        dual={"rule": "newton", "step_size": 0.3, "every": 5, "staleness": 0},
        train={"steps": 40, "lr": 0.01, "lr_schedule": "wsd", "clip": None, "ema": 0.9},
        rollout={"steps": 6, "batch_size": 128, "gradient": gradient, "normalize": False},
    )  # fmt: skip
    result = train(Recipe.model_validate(plain), tmp_path)
    model = restore(str(result.checkpoint))
    fresh = draw(model, 20_000, seed=1)[:, 0].double()
    reported, error = result.constraints["right"].value, float(fresh.std()) * (1 / 20_000 + 1 / 20_000) ** 0.5
    assert reported > -0.98 and abs(reported - float(fresh.mean())) < 4 * error
    steps = steps_of(model.schedule, 6, 1.0)
    mean, covariance = moments(model.predictor, steps)
    assert abs(float(fresh.mean()) - mean[0]) < 4 * error and float(fresh.std()) == pytest.approx(
        covariance[0, 0] ** 0.5, rel=0.03
    )
