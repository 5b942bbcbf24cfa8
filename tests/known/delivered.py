"""Alignments of a Gaussian on the line, of which what is measured and what is delivered are known in closed form.

Predictions are affine in x, a slope and an offset for each timestep, so that the mean and the variance of every state follow from
the product's own steps.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from diffusers import DDPMScheduler
from torch import nn

from dualsweep.trainer.engine.sample_command import draw, restore
from dualsweep.trainer.models.schedules import noise_schedule
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.samplers.chain import Steps, steps_of
from dualsweep.trainer.samplers.rollout import roll_out
from tests.known import exact
from tests.known.cases import CALL, document
from tests.known.test_answers import train

NARROW = 0.025**0.5
#: Samples of a reported value, and fresh ones.
DRAWS = 20_000


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


def aligned(seed: int, eta: float, count: int, updates: int, price: float = 2.0) -> exact.Array:
    """[n, 2]: the reported and the delivered KL on the way, as a chain of `count` steps is aligned to price x the sample."""
    schedule = schedule_of(100)
    steps = steps_of(schedule, count, eta)
    model, pretrained = Line(schedule, -1.0, NARROW), Line(schedule, -1.0, NARROW).requires_grad_(requires_grad=False)
    before, start = exact.affine(pretrained, steps, 1), moments(pretrained, steps)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    rate = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda done: min(1.0, 4 * (1 - done / updates)))
    source, kls = torch.Generator().manual_seed(seed), []
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
            kls.append((exact.path_kl(after, before, steps), exact.gaussian_kl(*delivered, *start)))
    return np.array(kls)


class Rewarded(NamedTuple):
    """A reward as the run reports it, its mean and width over as many fresh samples, and the exact ones; the error of a mean."""

    reported: float
    fresh: float
    width: float
    exact: float
    exact_width: float
    error: float


def rewarded(seed: int, gradient: str, folder: Path) -> Rewarded:
    """A short run of the whole trainer, and samples of what it delivers."""
    reward = "first" if gradient == "backpropagation" else "black_box_first"
    plain = document(
        "alignment", "left", [1], [{"name": "right", "reward": {"call": CALL(reward)}, "at_least": -0.9}],
        dual={"rule": "newton", "step_size": 0.3, "every": 5, "staleness": 0},
        train={"steps": 40, "lr": 0.01, "lr_schedule": "wsd", "clip": None, "ema": 0.9},
        rollout={"steps": 6, "batch_size": 128, "gradient": gradient, "normalize": False},
        evaluation={"samples": 0, "loss_draws": DRAWS, "batch_size": 5000},
    )  # fmt: skip
    result = train(Recipe.model_validate(plain), folder, seed)
    model = restore(str(result.checkpoint))
    fresh = draw(model, DRAWS, seed=seed)[:, 0].double()
    mean, covariance = moments(model.predictor, steps_of(model.schedule, 6, 1.0))
    width = float(covariance[0, 0] ** 0.5)
    reported = result.constraints["right"].value
    return Rewarded(reported, float(fresh.mean()), float(fresh.std()), float(mean[0]), width, width / DRAWS**0.5)
