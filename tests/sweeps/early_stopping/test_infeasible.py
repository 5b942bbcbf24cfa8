"""A trial is stopped as infeasible when it is, seldom when it is not, and early enough to be worth it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dualsweep.sweeps.early_stopping.early_stopper import EarlyStopper, Stop
from dualsweep.sweeps.early_stopping.watched import Bound, Watched
from dualsweep.sweeps.planning.schema import Direction, EarlyStopping
from dualsweep.trainer.checkpoint import CheckpointFolder
from dualsweep.trainer.dual.coordinator import InProcess
from dualsweep.trainer.engine.dual_side import controller_of
from dualsweep.trainer.engine.host import LocalHost
from dualsweep.trainer.engine.worker import run_worker
from tests.margins import Sampled
from tests.sweeps.early_stopping.dynamics import STEPS, Many, simulate
from tests.trainer.recipes import digits

Curve = Callable[[int], float]
ALONE = EarlyStopping(infeasible=True)
OBJECTIVES: dict[str, Direction] = {"objective": "minimize"}


def stop_of(many: Many, i: int, before: int | None = None) -> tuple[float, Stop] | None:
    """Where in its steps a simulated trial is stopped, and why; `before` has ended by then."""
    judge = EarlyStopper(ALONE, OBJECTIVES)
    if before is not None:
        judge.recall(many.trial(before), many.points(before), many.result(before))
    judge.begin(many.trial(i))
    for step, metrics in many.points(i):
        stop = judge.take(many.trial(i).name, step, metrics)
        if stop is not None:
            return step / STEPS, stop
    return None


@pytest.mark.parametrize(
    ("trials", "wrongly", "saves", "stops"),
    [(400, 0.045, 0.13, 0.45), pytest.param(4000, 0.02, 0.16, 0.5, marks=pytest.mark.dear)],
)
def test_simulated_dual_dynamics_with_known_ends(
    trials: int, wrongly: float, saves: float, stops: float, sampled: Sampled
) -> None:
    """At most 2 % of the feasible are stopped, and the infeasible, however close they come, lose a sixth of their steps."""
    many = simulate(trials, seed=sampled.seed)
    ended = next(i for i in range(trials) if many.feasible(i))
    found = {i: stop_of(many, i, ended) for i in range(trials) if i != ended}
    feasible = [i for i in found if many.feasible(i)]
    infeasible = [i for i in found if not many.feasible(i)]
    assert min(len(feasible), len(infeasible)) > 100
    sampled.at_most("share of the feasible that is stopped", np.mean([found[i] is not None for i in feasible]), wrongly)
    at = [1.0 if (stop := found[i]) is None else stop[0] for i in infeasible]
    sampled.at_least("share of the infeasible's steps saved", 1 - np.mean(at), saves)
    sampled.at_least("share of the infeasible that is stopped", np.mean([each < 1 for each in at]), stops)
    assert min(at) == 0.3


def line(slack: Curve, multiplier: Curve, kind: str = "at_most", **more: Any) -> EarlyStopper:
    """A judge with one trial whose slack and multiplier are functions of the step."""
    rng = np.random.default_rng(0)
    judge = EarlyStopper(ALONE, OBJECTIVES)
    judge.begin(Watched("0000", STEPS, (Bound("g", kind),), **more))
    for step in range(10, STEPS, 10):
        metrics = {"slack/g": slack(step) + 0.01 * rng.normal(), "slack_error/g": 0.01, "value/g": 0.0}
        stop = judge.take("0000", step, metrics | {"multiplier/g": multiplier(step)})
        if stop is not None:
            raise Stopped(stop.reason)
    return judge


class Stopped(Exception):
    """The trial was stopped, for this reason."""


def test_the_reason_says_what_was_seen() -> None:
    with pytest.raises(
        Stopped,
        match=r"`g` cannot be met within the 420 steps that are left: its slack is -0.\d+ ± 0.000\d, "
        r"and by its trend at best -0.\d+ at step 600, while its multiplier rises \(0.18\)",
    ):
        line(lambda step: -0.3, lambda step: step / 1000)  # fmt: skip


def test_a_slack_that_is_about_to_be_met_goes_on() -> None:
    line(lambda step: -0.3 + step / 1500, lambda step: step / 1000)


def test_a_multiplier_that_has_just_begun_to_act_is_waited_for() -> None:
    """Flat while the multiplier is small; then the slack closes at the pace of the price."""
    line(lambda step: -0.3 + max(0, step - 150) * 0.001, lambda step: step / 1000)


def test_a_violation_without_pressure_is_no_proof() -> None:
    """A multiplier that does not rise has not been tried; where it never moves, or is at its cap, the slack alone counts."""
    line(lambda step: -0.3, lambda step: 0.0)
    with pytest.raises(Stopped, match="and its multiplier is fixed"):
        line(lambda step: -0.3, lambda step: 1.0, moving=False)
    with pytest.raises(Stopped):
        line(lambda step: -0.3, lambda step: min(step / 10, 5.0))


def test_the_warm_up_says_nothing() -> None:
    with pytest.raises(Stopped, match=r"the 240 steps"):
        line(lambda step: -0.3, lambda step: max(0, step - 200) / 1000, warmup=200)


def test_an_equality_is_violated_on_either_side() -> None:
    with pytest.raises(Stopped):
        line(lambda step: -0.3, lambda step: step / 1000, kind="equals")
    with pytest.raises(Stopped):
        line(lambda step: 0.3, lambda step: -step / 1000, kind="equals")
    line(lambda step: 0.0, lambda step: step / 1000, kind="equals")


def test_what_averaging_the_weights_gained_before_may_be_gained_again() -> None:
    """A finished trial whose delivered slack was 0.4 above that in training; this one lacks 0.3."""
    many = simulate(40, seed=2, violation=(0.3, 0.31), reach=1.0)
    i = next(i for i in range(40) if stop_of(many, i, 0) is not None)
    result = many.result(0)
    outcome = result.constraints["g"]
    gained = {"g": type(outcome)(**{**vars(outcome), "slack": outcome.slack + 0.4})}
    judge = EarlyStopper(ALONE, OBJECTIVES)
    judge.recall(many.trial(0), many.points(0), type(result)(**{**vars(result), "constraints": gained}))
    assert judge.begin(many.trial(i), many.points(i)) is None


def test_a_real_training_with_an_impossible_budget(tmp_path: Path) -> None:
    """Losses of noise prediction are no less than 0: a budget of -0.5 is beyond any price."""
    recipe = digits(
        constraints=[{"name": "four", "data": {"classes": [4]}, "at_most": -0.5}],
        model={"unet": {"channels": [4, 4], "norm_groups": 2}},
        train={"steps": 100, "log_every": 2, "batch_size": 8},
        evaluation={"samples": 1, "sample_steps": 1, "loss_draws": 8, "metrics": []},
        checkpoint={"every": 1000},
    )
    host = LocalHost(InProcess(controller_of(recipe)), CheckpointFolder(str(tmp_path / "checkpoints"), 1))
    result = run_worker(recipe, host, str(tmp_path))
    assert result is not None and result.feasible == "violated"
    judge = EarlyStopper(ALONE, OBJECTIVES)
    judge.begin(Watched.of("0000", recipe))
    points = [each for report in host.reports for each in report["points"]]
    stops = [step for each in points if judge.take("0000", step := each["step"], each["metrics"])]
    assert stops and stops[0] <= 60
