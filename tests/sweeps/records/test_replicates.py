"""Several trainings of one trial taken together: means and intervals against the textbook, feasibility against simulation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scipy import stats

from dualsweep.sweeps.records.replicates import Replicates
from dualsweep.sweeps.records.trial_record import TrialRecord
from dualsweep.trainer.recipe.bound import Kind
from dualsweep.trainer.result import ConstraintOutcome, Result
from tests.margins import Sampled


def run(
    objective: float = 1.0,
    slacks: Sequence[float] = (0.0,),
    error: float = 0.0,
    status: Any = "converged",
    kind: Kind = "at_most",
    tolerance: float = 0.0,
) -> Result:
    constraints = {
        name: ConstraintOutcome(0.5 - slack, 0.5, slack, error, 0.3, kind, tolerance=tolerance)
        for name, slack in zip("abc", slacks, strict=False)
    }
    metrics = {"objective": objective, "feasible": 1.0}
    for name, each in constraints.items():
        metrics |= {f"value/{name}": each.value, f"slack/{name}": each.slack, f"slack_error/{name}": error, f"budget/{name}": 0.5}
    return Result(status, f"it is {status}", objective, error, constraints, "met", 100, 2.0, "somewhere", metrics)


def of(*runs: Result) -> Replicates:
    return Replicates(dict(enumerate(runs)))


def test_means_and_intervals_are_those_of_the_t_test() -> None:
    objectives, slacks = [1.0, 1.3, 0.8], [0.1, 0.16, 0.13]
    replicates = of(*(run(f, [s]) for f, s in zip(objectives, slacks, strict=True)))
    low, high = stats.ttest_1samp(objectives, 0.0).confidence_interval(0.95)
    assert replicates.result.objective == pytest.approx(np.mean(objectives))
    assert replicates.intervals["objective"] == pytest.approx((high - low) / 2)
    assert replicates.result.objective_error == pytest.approx(stats.sem(objectives))
    assert replicates.intervals.keys() == {"objective", "value/a", "slack/a"}


def test_the_trial_has_the_figures_of_all_its_trainings() -> None:
    slacks = [0.1, 0.16, 0.13]
    replicates = of(*(run(1.0, [s]) for s in slacks))
    outcome = replicates.result.constraints["a"]
    assert outcome.slack == pytest.approx(0.13) and outcome.slack_error == pytest.approx(float(stats.sem(slacks)))
    assert replicates.result.metrics["objective_error"] == replicates.result.objective_error
    assert replicates.result.metrics["slack_error/a"] == outcome.slack_error and outcome.multiplier_error == 0
    assert replicates.result.seconds == 6 and replicates.result.steps == 100


def test_trainings_that_agree_by_luck_are_no_surer_than_their_own_errors_allow() -> None:
    replicates = of(*(run(1.0, [0.1], error=0.03) for _ in range(3)))
    assert replicates.result.objective_error == pytest.approx(0.03 / math.sqrt(3))
    assert replicates.intervals["slack/a"] == pytest.approx(stats.t.ppf(0.975, 2) * 0.03 / math.sqrt(3))


def test_intervals_cover_the_mean_over_seeds_as_often_as_they_say(sampled: Sampled) -> None:
    noise = np.random.default_rng(sampled.seed)
    hits = 0
    for figures in noise.normal(0.0, math.hypot(1.0, 0.3), (3000, 3)):  # between seeds 1, within a training 0.3
        replicates = of(*(run(float(each), error=0.3) for each in figures))
        hits += abs(replicates.result.objective) <= replicates.intervals["objective"]
    sampled.between("share covered", hits / 3000, 0.935, 0.985, method="cover 96 to 97 %: never below a training's own error")


@pytest.mark.parametrize(("count", "constraints"), [(3, 1), (5, 2)])
def test_one_more_training_is_feasible_as_often_as_was_said(count: int, constraints: int, sampled: Sampled) -> None:
    """Calibration: of the trials with a probability near p, the next training is feasible in a part p."""
    noise = np.random.default_rng([count, sampled.seed])
    said, came = [], []
    for _ in range(4000):
        # The mean is far more spread than the seeds are, as the predictive distribution takes it to be.
        centre = noise.uniform(-20.0, 20.0, constraints)
        slacks = centre + noise.normal(0.0, 1.0, (count + 1, constraints))
        chance = of(*(run(slacks=each) for each in slacks[:count])).feasibility
        assert chance is not None
        said.append(chance)
        came.append(bool((slacks[count] >= 0).all()))
    chances, happened = np.array(said), np.array(came)
    for low, high in ((0.0, 0.1), (0.1, 0.3), (0.3, 0.7), (0.7, 0.9), (0.9, 1.0)):
        there = (chances >= low) & (chances <= high)
        assert there.sum() > 50
        error = 0.5 / math.sqrt(there.sum())
        sampled.near(f"share of those at {low} to {high}", happened[there].mean(), chances[there].mean(), abs=5 * error)


def test_a_training_counts_where_it_is_found_to_meet_its_budget_within_its_tolerance() -> None:
    needed = stats.norm.ppf(0.95) * 0.1  # above the edge, minus the tolerance of 0.3, with an error of 0.1
    at_the_edge = [run(slacks=[needed - 0.3 + off], error=0.1, tolerance=0.3) for off in (-0.01, 0.01, 0.0)]
    assert of(*at_the_edge).feasibility == pytest.approx(0.5)
    equal = [run(slacks=[off], error=0.1, kind="equals", tolerance=0.3) for off in (-0.01, 0.0, 0.01)]
    assert of(*equal).feasibility == pytest.approx(2 * stats.t.cdf((0.3 - needed) / (0.1 * math.sqrt(4 / 3)), 2) - 1)
    strict = [run(slacks=[off], error=0.1, kind="equals") for off in (-0.01, 0.0, 0.01)]
    assert of(*strict).feasibility == 0.0, "without a tolerance no equality is ever known to be met"


def test_a_training_that_diverged_is_not_feasible_and_one_that_failed_says_nothing() -> None:
    sound = [run(slacks=[each]) for each in (5.0, 5.1, 5.2)]
    alone = of(*sound).feasibility
    assert alone is not None and alone > 0.99
    assert of(*sound, run(status="diverged")).feasibility == pytest.approx(0.75 * alone)
    assert of(*sound, run(status="failed")).feasibility == alone


def test_what_is_left_goes_on_and_the_reason_says_what_is_left_out() -> None:
    replicates = of(run(status="failed"), run(2.0, [0.1]), run(4.0, [0.11], status="out_of_steps"))
    result = replicates.result
    assert (result.status, result.objective, result.feasible, replicates.shown) == ("out_of_steps", 3.0, "met", 1)
    assert result.reason == (
        "of 3 trainings 1 converged, 1 out of steps, 1 failed; every constraint is met in the mean; "
        "seed 0 is left out: failed, it is failed"
    )
    record = TrialRecord(0, {}, result, replicates)
    assert (record.trainings, record.as_trial().replicates, record.as_trial().sound) == (2, 3, 2)
    one = of(run(status="diverged"), run(2.0, [0.1], error=0.2))
    assert one.intervals == {} and one.feasibility is None and one.result.objective_error == 0.2
    assert math.isnan(one.result.constraints["a"].multiplier_error)


def test_without_any_sound_training_the_trial_has_failed() -> None:
    replicates = of(run(status="failed"), run(status="failed"))
    assert (replicates.result.status, replicates.feasibility, replicates.intervals) == ("failed", None, {})
    assert "seed 1 is left out: failed, it is failed" in replicates.result.reason


def test_feasible_is_what_the_mean_slacks_and_their_scatter_show() -> None:
    met, near = of(*(run(slacks=[each]) for each in (0.3, 0.2, 0.25))), of(*(run(slacks=[each]) for each in (-0.3, 0.1, 0.0)))
    far = of(*(run(slacks=[each]) for each in (-0.3, -0.2, -0.25)))
    assert (met.result.feasible, met.result.metrics["feasible"]) == ("met", 1.0)
    assert (near.result.feasible, near.result.metrics["feasible"]) == ("undecided", 0.0)
    assert (far.result.feasible, far.result.metrics["feasible"]) == ("violated", 0.0)
    assert "violated in the mean: `a` by 0.25 ± 0.029" in far.result.reason
