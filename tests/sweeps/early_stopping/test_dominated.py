"""A trial is stopped as dominated when its end would be, with the confidence asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dualsweep.sweeps.early_stopping.dominated import optimistic
from dualsweep.sweeps.early_stopping.early_stopper import EarlyStopper, Stop
from dualsweep.sweeps.early_stopping.watched import Bound, Watched
from dualsweep.sweeps.planning.schema import Direction, Dominated, EarlyStopping
from dualsweep.trainer.result import ConstraintOutcome, Result, failed
from tests.margins import Sampled
from tests.sweeps.early_stopping.dynamics import STEPS, simulate

OBJECTIVES: dict[str, Direction] = {"objective": "minimize", "value/max": "minimize"}


@pytest.mark.parametrize(
    ("trials", "wrongly", "saves"), [(150, 0.06, 0.06), pytest.param(2400, 0.05, 1 / 6, marks=pytest.mark.dear)]
)
def test_simulated_trials_with_known_ends(trials: int, wrongly: float, saves: float, sampled: Sampled) -> None:
    """Of those that are not dominated in the end at most 5 % are stopped; the others lose a sixth of their steps."""
    whole, rng = trials * 4 // 3, np.random.default_rng(sampled.seed)
    many = simulate(whole, seed=sampled.seed, violation=(0.05, 0.6), reach=0.0, waste=0.3)
    wrong: list[bool] = []
    saved: list[float] = []
    for i in range(trials):
        others = [int(j) for j in rng.choice(np.arange(trials, whole), 5, replace=False)]
        judge = EarlyStopper(EarlyStopping(dominated=Dominated()), OBJECTIVES)
        for j in others:
            judge.recall(many.trial(j), many.points(j), many.result(j))
        judge.begin(many.trial(i))
        stop = next((step for step, metrics in many.points(i) if judge.take(many.trial(i).name, step, metrics)), STEPS)
        mine, *theirs = ((many.objective[k], many.budget[k] - many.slack[k]) for k in (i, *filter(many.feasible, others)))
        if any(other[0] <= mine[0] and other[1] <= mine[1] for other in theirs):
            saved.append(1 - stop / STEPS)
        else:
            wrong.append(stop < STEPS)
    assert min(len(wrong), len(saved)) > 40
    sampled.at_most("share of the others that is stopped", np.mean(wrong), wrongly)
    sampled.at_least("share of the dominated's steps saved", np.mean(saved), saves)


def watched(name: str, steps: int = 300, **metrics: Any) -> Watched:
    """A trial of 600 steps after so many, with metrics that are numbers or functions of the step, and a little noise."""
    rng = np.random.default_rng(0)
    trial = Watched(name, STEPS, (Bound("g", "at_most"),))
    for step in range(10, steps + 1, 10):
        levels = {key.replace("_", "/"): each(step) if callable(each) else each for key, each in metrics.items()}
        point = {key: float(each) + 1e-3 * rng.normal() for key, each in levels.items()} | {"budget/g": 0.2}
        trial.add(step, point | ({"value/max": point["value/g"]} if "value/g" in point else {}))
    return trial


def said(trial: Watched, other: Watched, feasible: bool = True, required: frozenset[str] | None = None) -> Stop | None:
    judge = EarlyStopper(EarlyStopping(dominated=Dominated()), OBJECTIVES, required)
    judge.recall(
        Watched(other.name, STEPS, other.bounds, trial=other.trial),
        points(other),
        Result("converged", "", 0, 0, {}, "met" if feasible else "undecided", 600, 1, None),
    )
    return judge.begin(Watched(trial.name, STEPS, trial.bounds, trial=trial.trial), points(trial))


def points(trial: Watched) -> list[tuple[int, dict[str, float]]]:
    by_step: dict[int, dict[str, float]] = {}
    for metric, values in trial.histories.items():
        for step, value in values:
            by_step.setdefault(step, {})[metric] = value
    return sorted(by_step.items())


def test_worse_in_everything_is_dominated_and_worse_in_one_thing_is_not() -> None:
    good = watched("0003", 600, objective=0.3, value_g=0.1, slack_g=0.1, multiplier_g=0.0)
    stop = said(watched("0004", objective=0.4, value_g=0.15, slack_g=0.05, multiplier_g=0.0), good)
    assert stop is not None and stop.rule == "dominated"
    assert stop.reason.startswith("dominated with 95 % confidence by trial 0003: objective at best 0.39")
    assert said(watched("0004", objective=0.4, value_g=0.05, slack_g=0.15, multiplier_g=0.0), good) is None
    assert said(watched("0004", objective=0.4, value_g=0.15, slack_g=0.05, multiplier_g=0.0), good, feasible=False) is None
    assert said(good, good) is None


def test_a_training_of_the_same_trial_does_not_dominate_and_another_trial_is_named_by_its_number() -> None:
    good = watched("0003-seed-0", 600, objective=0.3, value_g=0.1, slack_g=0.1, multiplier_g=0.0)
    worse = watched("0003-seed-1", objective=0.4, value_g=0.15, slack_g=0.05, multiplier_g=0.0)
    assert said(replace(worse, trial="0003"), replace(good, trial="0003")) is None
    stop = said(replace(worse, trial="0004"), replace(good, trial="0003"))
    assert stop is not None and stop.reason.startswith("dominated with 95 % confidence by trial 0003: objective")


def test_on_an_attained_front_a_finished_trial_that_missed_its_own_budget_dominates_too() -> None:
    good = watched("0003", 600, objective=0.3, value_g=0.1, slack_g=0.1, multiplier_g=0.0)
    worse = watched("0004", objective=0.4, value_g=0.15, slack_g=0.05, multiplier_g=0.0)
    assert said(worse, good, feasible=False) is None
    assert said(worse, good, feasible=False, required=frozenset()) is not None
    missed = ConstraintOutcome(0.3, 0.2, -0.1, 0.001, 1.0)
    ended = Watched("0005", STEPS, result=Result("infeasible", "", 0, 0, {"g": missed}, "violated", 600, 1, None))
    assert ended.admitted(frozenset()) and not ended.admitted(frozenset({"g"})) and not ended.admitted(None)
    assert not Watched("0006", STEPS, result=replace(failed("x"), status="stopped")).admitted(frozenset())


def test_what_still_improves_may_get_there() -> None:
    good = watched("0003", 600, objective=0.3, value_g=0.1, slack_g=0.1, multiplier_g=0.0)
    falling = watched("0004", objective=lambda step: 0.7 - step / 1000, value_g=0.15, slack_g=0.05, multiplier_g=0.0)
    assert said(falling, good) is None


def test_a_violated_value_may_come_down_to_its_budget_and_no_further_while_it_is_priced() -> None:
    falling: dict[str, Any] = {
        "objective": 0.4,
        "value_g": lambda step: 0.5 - step / 1000,
        "slack_g": lambda step: -0.3 + step / 1000,
    }
    priced = watched("0004", multiplier_g=lambda step: step / 100, **falling)
    free = watched("0004", multiplier_g=0.0, **falling)
    assert optimistic(priced, "value/g", "minimize", 2.0) == pytest.approx(0.2, abs=0.005)
    assert optimistic(free, "value/g", "minimize", 2.0) == pytest.approx(-0.1, abs=0.02)
    stuck = watched("0004", objective=0.4, value_g=0.5, slack_g=-0.3, multiplier_g=0.0)
    assert optimistic(stuck, "value/g", "minimize", 2.0) == pytest.approx(0.2)
    assert optimistic(priced, "value/max", "minimize", 2.0) == optimistic(priced, "value/g", "minimize", 2.0)


def test_an_objective_may_get_back_what_multipliers_overpay() -> None:
    """f = x^2 / 2 at x = 1 under a price of 1, where x = 0.8 would do: what it may gain is at most 1 x 0.2."""
    overpaid = watched("0004", objective=0.5, value_g=0.0, slack_g=0.2, multiplier_g=1.0)
    assert optimistic(overpaid, "objective", "minimize", 2.0) == pytest.approx(0.3, abs=0.02)
    overpaid.maximize = True
    assert optimistic(overpaid, "objective", "maximize", 2.0) == pytest.approx(0.7, abs=0.02)


def test_without_points_of_an_objective_nothing_is_said() -> None:
    assert optimistic(watched("0004", objective=0.4), "eval/frechet", "minimize", 2.0) is None
