"""What an alignment measures is what it delivers, in closed form: the KL of the samples, the rewards, and how wide they are."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from dualsweep.trainer.samplers.chain import grid, steps_of
from tests.known import exact
from tests.known.delivered import NARROW, Line, aligned, moments, rewarded, schedule_of
from tests.margins import Sampled


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "flow"])
@pytest.mark.parametrize("timesteps", [50, 100, 200, 300, 1000])
def test_the_pretrained_chain_delivers_the_datas_width(timesteps: int, prediction: str) -> None:
    schedule = schedule_of(timesteps, prediction=prediction)
    for count, within in ((15, 0.14), (40, 0.07)):
        for deviation in (0.1, NARROW, 0.2, 0.5, 1.0):
            mean, covariance = moments(Line(schedule, -1.0, deviation), steps_of(schedule, count, 1.0))
            assert covariance[0, 0] ** 0.5 / deviation == pytest.approx(1, abs=within), (count, deviation)
            assert mean[0] == pytest.approx(-1, abs=0.02)


@pytest.mark.parametrize("count", [6, 10, 15, 40])
def test_the_reported_kl_is_the_delivered_one_at_the_optimum(count: int, sampled: Sampled) -> None:
    kls = aligned(sampled.seed, 1.0, count, 200)
    sampled.near("delivered / reported at the optimum", kls[-1, 1] / kls[-1, 0], 0.975, abs=0.075)
    sampled.at_most("the largest delivered / reported on the way", (kls[:, 1] / kls[:, 0]).max(), 1.05)
    sampled.at_least("the KL at the optimum", kls[-1, 0], 0.02)


@pytest.mark.parametrize("eta", [0.2, 0.5])
def test_the_reported_kl_bounds_the_delivered_one_on_the_way(eta: float, sampled: Sampled) -> None:
    kls = aligned(sampled.seed, eta, 10, 100, price=20.0)
    sampled.at_most("the largest delivered / reported", (kls[:, 1] / kls[:, 0]).max(), 1.05)
    sampled.at_least("the largest delivered KL", kls[:, 1].max(), 0.01)


def test_a_shift_of_the_last_mean_alone_costs_more_than_it_moves() -> None:
    schedule = schedule_of(100)
    for count in (2, 6, 15):
        steps = steps_of(schedule, count, 1.0)
        before = exact.affine(Line(schedule, -1.0, NARROW), steps, 1)
        after = [*before[:-1], (before[-1][0], before[-1][1] + 0.1)]
        start, end = (exact.propagated(moves, steps, np.eye(1))[-1] for moves in (before, after))
        assert exact.path_kl(after, before, steps) > 5 * exact.gaussian_kl(*end, *start)


@pytest.mark.parametrize("gradient", ["backpropagation", "policy_gradient", "dag"])
def test_the_reward_that_a_run_reports_is_that_of_fresh_samples(gradient: str, sampled: Sampled, tmp_path: Path) -> None:
    reward = rewarded(sampled.seed, gradient, tmp_path)
    away = {"fresh samples": reward.reported - reward.fresh, "the exact mean": reward.reported - reward.exact}
    sampled.near(f"reported reward less that of {list(away)}, in errors", np.array(list(away.values())) / reward.error, 0, abs=7)
    sampled.near("the width of fresh samples", reward.width, reward.exact_width, rel=0.03)
    sampled.at_least("how far the model was moved", reward.exact, -0.99)


def test_timesteps_fall_from_the_noisiest_to_the_finest() -> None:
    for total in (2, 7, 50, 80, 300, 1000):
        for count in range(2, total + 1):
            found = grid(total, count)
            assert len(found) == count and found[0] == total - 1 and found[-1] == 0
            assert all(before > after for before, after in pairwise(found))
