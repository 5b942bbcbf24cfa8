"""A share of the samples, asked for by a judge that errs: it is the true share that is met, at the least distance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import brentq
from scipy.stats import norm

from dualsweep.trainer.engine.sample_command import restore
from dualsweep.trainer.evaluation.confusion import Confusion
from dualsweep.trainer.models.schedules import noise_schedule
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.samplers.chain import steps_of
from dualsweep.trainer.samplers.rollout import roll_out
from tests.known import exact, models
from tests.known.cases import CALL, document
from tests.known.test_answers import train
from tests.margins import Sampled


def recipe(model: str, share: dict[str, Any], at_least: float, rollout: dict[str, Any], steps: int) -> Recipe:
    plain = document(
        "alignment", model, [2], [{"name": "first", "share": share, "at_least": at_least}],
        dual={"rule": "newton", "step_size": 0.3, "every": 10, "staleness": 0},
        train={"steps": steps, "lr": 0.02, "lr_schedule": "wsd", "clip": None, "ema": 0.99}, rollout={"steps": 10, **rollout},
    )  # fmt: skip
    return Recipe.model_validate(plain)


def test_a_share_is_met_at_the_least_distance(tmp_path: Path, sampled: Sampled) -> None:
    """A Gaussian moved by d costs d^2 / 2 v, v being what the chain's own noise makes, and has the share g(d) = E W p(x + d).

    So g(d) = c, at the price d / (v g'(d)).
    """
    share = {"of": "right", "judge": CALL("SideJudge"), "calibration": CALL("sided_points")}
    asked = recipe("plane", share, 0.8, {"batch_size": 256}, 300)
    x, words = models.sided_points()
    labels = np.array([word == "right" for word in words], dtype=np.int64)
    weights = Confusion.of(models.SideJudge().probabilities(x).double().numpy(), labels, ("left", "right")).weights
    chain = steps_of(noise_schedule(asked, (2,)), 10, 1.0)
    _, covariance = exact.sampler_moments(models.Gaussian(*models.PLANE), chain)
    places = norm.ppf((np.arange(20_000) + 0.5) / 20_000)[:, None] * [covariance[0, 0] ** 0.5, 0.0]

    def g(away: float) -> float:
        told = models.SideJudge().probabilities(torch.from_numpy(places + np.array([away, 0.0]))).numpy()
        return float((told @ weights[1]).mean())

    away, slope = brentq(lambda at: g(at) - 0.8, 0.0, 2.0), 1e-3
    result = train(asked, tmp_path, sampled.seed)
    first = result.constraints["first"]
    sampled.near("share", first.value, 0.8, abs=0.03)
    sampled.near("KL", result.objective, away**2 / (2 * covariance[0, 0]), rel=0.15)
    price = away / covariance[0, 0] / ((g(away + slope) - g(away - slope)) / (2 * slope))
    sampled.near("multiplier", first.multiplier, price, rel=0.15)


def test_the_true_share_is_met_where_the_judge_errs(tmp_path: Path, sampled: Sampled) -> None:
    """Of three islands the first is asked for in 60 % of the samples; of as many the judge would say 0.8 x 0.6 + 0.15 x 0.2."""
    share = {"of": 0, "judge": CALL("IslandJudge"), "calibration": CALL("labelled_islands")}
    asked = recipe("islands", share, 0.6, {"batch_size": 512, "gradient": "policy_gradient"}, 150)
    result = train(asked, tmp_path, sampled.seed)
    model, schedule, *_ = restore(str(result.checkpoint))
    noise = torch.randn(20_000, 10, 2, generator=torch.Generator().manual_seed(7 + sampled.seed))
    with torch.no_grad():
        samples = roll_out(model, steps_of(schedule, 10, 1.0), noise).samples
    nearest = (samples[:, None] - models.ISLANDS).square().sum(2).argmin(1)
    sampled.near("true share", float((nearest == 0).double().mean()), 0.6, abs=0.05)
    sampled.near("share", result.constraints["first"].value, 0.6, abs=0.05)
    judge_error, error = result.metrics["judge_error/first"], result.constraints["first"].slack_error
    assert 0.001 < judge_error < error < 0.006  # of 500 labelled images of each island, and of 20,000 draws
    judged = models.IslandJudge().probabilities(samples)[:, 0].mean()
    sampled.near("judged", float(judged), 0.51, abs=0.05)
