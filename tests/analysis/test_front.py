"""The front against brute force, and feasible first."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from dualsweep.analysis.figures.marks import kinds
from dualsweep.analysis.front import domination_ranks, find_front, non_dominated
from dualsweep.analysis.recommendation.recommend import recommend
from dualsweep.analysis.ties import clearly_dominated
from dualsweep.analysis.trials import Direction, SweepRecord, Trial
from dualsweep.trainer.feasibility.standing import Standing
from tests.analysis.made_up import made_up_sweep


def dominates(one: list[float], other: list[float], directions: list[Direction]) -> bool:
    better = [(a > b) if d == "maximize" else (a < b) for a, b, d in zip(one, other, directions, strict=True)]
    worse = [(a < b) if d == "maximize" else (a > b) for a, b, d in zip(one, other, directions, strict=True)]
    return any(better) and not any(worse)


def brute_force_front(points: list[list[float]], directions: list[Direction]) -> list[bool]:
    finite = [all(map(math.isfinite, point)) for point in points]
    return [
        ok and not any(dominates(other, point, directions) for other, there in zip(points, finite, strict=True) if there)
        for point, ok in zip(points, finite, strict=True)
    ]


@pytest.mark.parametrize("dimensions", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", range(6))
def test_agrees_with_brute_force_on_ties_duplicates_and_non_finite_points(dimensions: int, seed: int) -> None:
    rng = random.Random(100 * dimensions + seed)
    directions: list[Direction] = [rng.choice(["minimize", "maximize"]) for _ in range(dimensions)]
    # Few distinct values make many ties and exact duplicates.
    values = [0.0, 1.0, 2.0, 3.0, 1e300, -2.5]
    points = [[rng.choice(values) for _ in range(dimensions)] for _ in range(40)]
    points += [[rng.gauss(0, 1) for _ in range(dimensions)] for _ in range(20)]
    for point in rng.sample(points, 6):
        point[rng.randrange(dimensions)] = rng.choice([math.nan, math.inf, -math.inf])
    assert non_dominated(points, directions).tolist() == brute_force_front(points, directions)


def test_ranks_peel_front_after_front() -> None:
    rng = np.random.default_rng(0)
    points = rng.integers(0, 6, size=(50, 2)).astype(float)
    directions: list[Direction] = ["minimize", "maximize"]
    left, expected, rank = list(range(50)), [0] * 50, 1
    while left:
        best = brute_force_front([points[i].tolist() for i in left], directions)
        for index, ok in zip(left, best, strict=True):
            expected[index] = rank if ok else 0
        left = [index for index in left if not expected[index]]
        rank += 1
    assert domination_ranks(points, directions).tolist() == expected


def test_both_exact_duplicates_stay() -> None:
    assert non_dominated([[1, 2], [1, 2], [2, 1], [2, 2]], ["minimize", "minimize"]).tolist() == [True, True, True, False]


def test_no_points() -> None:
    assert non_dominated([], ["minimize", "maximize"]).shape == (0,)


def trial(name: str, objective: float, value: float, standing: Standing | None, violation: float = 0.0) -> Trial:
    metrics = {"objective": objective, "value/max": value, "violation/max": violation}
    return Trial(name, "0" * 32, "converged", metrics=metrics, standing=standing)


def record(*trials: Trial) -> SweepRecord:
    return SweepRecord("1", "s", "p", {"objective": "minimize", "value/max": "minimize"}, None, trials)


def test_feasible_comes_before_any_objective() -> None:
    front = find_front(
        record(
            trial("better-but-infeasible", 0.0, 0.0, standing="violated", violation=0.5),
            trial("better-but-unknown", 0.0, 0.0, standing=None),
            trial("right", 2.0, 1.0, standing="met"),
            trial("left", 1.0, 2.0, standing="met"),
            trial("dominated", 3.0, 3.0, standing="met"),
            trial("less-infeasible", 9.0, 9.0, standing="violated", violation=0.1),
            trial("nan", math.nan, 0.0, standing="met"),
        )
    )
    assert front.ids == ("left", "right")  # along the first objective
    assert front.ranks == {
        "left": 1,
        "right": 1,
        "dominated": 2,
        "less-infeasible": 3,
        "better-but-infeasible": 4,
        "better-but-unknown": None,
        "nan": None,
    }
    assert front.least_violating is None


def test_without_a_feasible_trial_the_front_is_empty_and_the_least_violating_is_named() -> None:
    front = find_front(
        record(trial("a", 1, 1, standing="violated", violation=0.3), trial("b", 2, 2, standing="violated", violation=0.2))
    )
    assert front.trials == ()
    assert front.least_violating is not None and front.least_violating.trial_id == "b"
    assert "Trial b violates least, by 0.2" in front.note


@pytest.mark.parametrize(
    ("standing", "values"), [("met", "meet the budgets"), ("undecided", "are not known to violate a budget")]
)
def test_a_trial_that_ended_infeasible_though_it_violates_nothing_is_told_so(standing: Standing, values: str) -> None:
    """Its multiplier was at its cap on training batches: nothing is violated by 0."""
    ended = replace(trial("a", 1, 1, standing=standing), status="infeasible")
    for others in ((), (trial("b", 2, 2, standing="violated", violation=0.2),)):
        sweep = record(ended, *others)
        front = find_front(sweep)
        assert front.trials == () and "by 0" not in front.note
        assert f"Trial a ended as infeasible, although its final values {values}: in training a multiplier was at" in front.note
        said = f"trial a comes nearest: it ended as infeasible, although its final values {values}."
        assert recommend(sweep, front).knee_reason == f"Nothing is feasible; {said}"


def test_equal_violations_share_a_rank() -> None:
    same = [trial(name, 1, 1, standing="violated", violation=0.3) for name in "ab"]
    assert find_front(record(*same, trial("c", 1, 1, standing="violated", violation=0.4))).ranks == {"a": 1, "b": 1, "c": 2}


def test_a_sweep_without_trials_that_ended_says_so() -> None:
    assert find_front(record()).note == "No trial of the sweep has ended yet, so there is no front."


def test_where_all_failed_the_note_says_why() -> None:
    def ended(number: int, status: str, reason: str) -> Trial:
        return Trial(f"{number:04d}", "", status, reason, {}, {}, ())

    died = [ended(i, "failed", "OverflowError: int too big") for i in range(2)]
    assert find_front(record(*died)).note == "2 of 2 trials failed, so there is no front: OverflowError: int too big"
    both = find_front(record(*died, ended(2, "diverged", "the objective is nan"))).note
    assert both == "3 of 3 trials failed, so there is no front: 2 x OverflowError: int too big; 1 x the objective is nan"


def test_the_front_of_a_made_up_sweep_is_the_brute_force_one() -> None:
    sweep = made_up_sweep(200)
    feasible = [one for one in sweep.trials if one.standing == "met"]
    expected = brute_force_front([list(sweep.point(one)) for one in feasible], ["minimize", "minimize"])
    on_front = {one.trial_id for one, ok in zip(feasible, expected, strict=True) if ok}
    assert set(find_front(sweep).ids) == on_front and len(on_front) > 5


def test_maximised_objectives_run_from_their_best_end() -> None:
    flipped = replace(
        record(trial("low", 1, 1, "met"), trial("high", 2, 2, "met")),
        objectives={"objective": "maximize", "value/max": "minimize"},
    )
    assert find_front(flipped).ids == ("high", "low")


def best_of(*points: tuple[float, float], objectives: Mapping[str, Direction] | None = None) -> SweepRecord:
    """Trials a, b, … with these (objective, its standard error), all feasible."""
    trials = tuple(
        Trial(name, "0" * 32, "converged", metrics={"objective": value, "objective_error": error}, standing="met")
        for name, (value, error) in zip("abcdef", points, strict=False)
    )
    return SweepRecord("1", "s", "p", objectives or {"objective": "minimize"}, None, trials)


def test_a_winner_by_less_than_the_errors_is_a_tie_and_said_so() -> None:
    sweep = best_of((0.0524, 0.0013), (0.0523, 0.0013), (0.0600, 0.0013))
    front = find_front(sweep)
    assert front.ids == ("b",) and [trial.trial_id for trial in front.tied] == ["a"] and not front.doubtful
    assert front.note.endswith("3 feasible. A tie within errors: a is not told apart from trial b, the best.")
    assert kinds(sweep, front) == ["tied", "front", "feasible"]
    assert recommend(sweep, front).knee_reason == "Trial b: the only point of the front; a is not told apart from it."
    exact = find_front(best_of((0.0524, 0.0), (0.0523, 0.0)))
    assert not exact.tied and "tie" not in exact.note


def test_a_tie_is_symmetric_in_the_direction_and_has_two_standard_errors_of_the_difference() -> None:
    most: Mapping[str, Direction] = {"objective": "maximize"}
    for gap, tied in ((0.99 * 2 * math.sqrt(2), 1), (1.01 * 2 * math.sqrt(2), 0)):
        for one, objectives in ((gap, None), (-gap, most)):
            front = find_front(best_of((one, 1.0), (0.0, 1.0), objectives=objectives))
            assert front.ids == ("b",) and len(front.tied) == tied


def test_on_two_axes_what_one_is_clearly_better_than_is_dominated() -> None:
    """Against (1, 1) with errors of 0.1: clearly worse in one and alike in the other is dominated, better in the other is not."""
    points = {"behind": (1.05, 1.5), "near": (1.05, 1.05), "other": (0.5, 1.5), "barely": (0.95, 1.5)}
    errors = np.full((1 + len(points), 2), 0.1)
    beaten = clearly_dominated(np.array([(1.0, 1.0), *points.values()]), errors)
    assert dict(zip(["it", *points], beaten.tolist(), strict=True)) == {
        "it": False, "behind": True, "near": False, "other": False, "barely": True,
    }  # fmt: skip


def test_what_is_on_the_front_by_less_than_the_errors_is_named() -> None:
    metrics = {"objective_error": 0.1}
    named = {"a": (1.0, 1.0), "b": (0.95, 9.0), "c": (5.0, 0.0)}
    trials = tuple(
        Trial(name, "0" * 32, "converged", metrics={**metrics, "objective": x, "value/max": y}, standing="met")
        for name, (x, y) in named.items()
    )
    front = find_front(record(*trials))
    assert front.ids == ("b", "a", "c") and [trial.trial_id for trial in front.doubtful] == ["b"]
    assert front.note.endswith("b is on it by less than the errors.")
