"""DAG and DAG-KL (trainer/sources/detailed_balance.py) through the whole trainer, against closed forms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dualsweep.trainer.engine.sample_command import restore
from dualsweep.trainer.models.schedules import noise_schedule
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.samplers.chain import steps_of
from tests.known import exact, models
from tests.known.cases import CALL, Plain, alignment, alignment_case, document
from tests.known.test_answers import train
from tests.known.verdicts import judge
from tests.margins import Sampled


def aligned(count: int, gradient: str, steps: int, batch: int) -> Plain:
    return alignment(
        count, "black_box_",
        dual={"rule": "newton", "step_size": 0.3, "every": 10, "staleness": 0},
        train={"steps": steps, "lr": 0.02, "lr_schedule": "wsd", "clip": None, "ema": 0.99},
        rollout={"steps": 10, "batch_size": batch, "gradient": gradient, "normalize": False, "flow": {"lr": 0.005}},
    )  # fmt: skip


def free(gradient: str, steps: int, beta: float) -> Recipe:
    """Samples from exp(beta r) alone."""
    plain = document(
        "alignment", "free_plane", [2], [{"name": "bowl", "reward": {"call": CALL("bowl")}, "at_least": 0.0}],
        dual={"rule": "fixed", "start": beta},
        train={"steps": steps, "lr": 0.02, "lr_schedule": "wsd", "clip": None, "ema": 0.99},
        rollout={
            "steps": 20, "batch_size": 256, "gradient": gradient, "normalize": False, "reference": "noising",
            "flow": {"lr": 0.005},
        },
    )  # fmt: skip
    return Recipe.model_validate(plain)


@pytest.mark.parametrize("gradient", [pytest.param("dag", marks=pytest.mark.dear), "dag_kl"])  # DAG: test_largest_reward
@pytest.mark.parametrize("count", [pytest.param(1, marks=pytest.mark.dear), 2])
def test_gaussian_alignment_on_black_boxes(count: int, gradient: str, tmp_path: Path, sampled: Sampled) -> None:
    case = alignment_case(0.10, aligned(count, gradient, 300, 256 * count))
    judge(sampled, case.judge(train(case.recipe, tmp_path, sampled.seed).to_json()))


@pytest.mark.slow
@pytest.mark.dear  # a minute each; what it is held against is tested below, both rules to an answer above
@pytest.mark.parametrize("gradient", ["dag", "dag_kl"])
def test_against_the_noising_process_samples_follow_the_reward_alone(gradient: str, tmp_path: Path, sampled: Sampled) -> None:
    beta = 1.5
    result = train(free(gradient, 1000, beta), tmp_path, sampled.seed)
    model, schedule, spec, *_ = restore(str(result.checkpoint))
    steps = steps_of(schedule, spec.rollout.steps, spec.rollout.eta)
    moves = exact.affine(model, steps, 2)
    learned_mean, learned_covariance = exact.propagated(moves, steps, np.eye(2))[-1]  # of all samples: none needs to be drawn
    mean, precision = np.array(models.BOWL[0]), beta * np.array(models.BOWL[1])
    wanted, covariance = exact.sampled_by_balance(mean, precision, steps, moves[-1])
    sampled.near("mean", learned_mean, wanted, abs=0.04)
    sampled.near("covariance", learned_covariance, covariance, abs=0.1 * covariance.max())


def test_the_samplers_own_optimum_comes_near_the_reward_with_more_steps() -> None:
    """The oracle of the test above, against R itself: its error falls with the number of steps."""
    mean, precision = np.array(models.BOWL[0]), np.array(models.BOWL[1])
    schedule = noise_schedule(free("dag", 1, 1.0), (2,))
    away = []
    for count in (10, 30, 100):
        steps = steps_of(schedule, count, 1.0)
        found, covariance = exact.sampled_by_balance(mean, precision, steps, exact.affine(models.free_plane(), steps, 2)[-1])
        np.testing.assert_allclose(found, mean, atol=1e-3)
        away.append(np.abs(covariance @ precision - np.eye(2)).max())
    assert away[0] > away[1] > away[2] and away[2] < 0.1
