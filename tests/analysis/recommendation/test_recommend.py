"""The knee and the preferred point of fronts whose answer is plain, with reasons that claim nothing within the noise."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from dualsweep.analysis.errors import ReviewError
from dualsweep.analysis.front import find_front
from dualsweep.analysis.preference import Limit, Preference, read_preference
from dualsweep.analysis.recommendation.knee import find_knee
from dualsweep.analysis.recommendation.points import Points
from dualsweep.analysis.recommendation.recommend import Recommendation, recommend
from dualsweep.analysis.trials import ConstraintRecord, Direction, SweepRecord, Trial
from tests.analysis.certified.problems import problem
from tests.analysis.prices.sweeps import record_of

TWO: dict[str, Direction] = {"objective": "minimize", "eval/frechet": "minimize"}


def sweep(
    points: Sequence[Sequence[float]], objectives: Mapping[str, Direction] = TWO, *, noise: float = 0.0,
    prefer: Preference | None = None, feasible: bool = True,
) -> SweepRecord:  # fmt: skip
    """Trials 0000, 0001, … at these objective values; `noise` is half of the 95 % interval of each."""
    trials = tuple(
        _trial(number, dict(zip(objectives, point, strict=True)), noise, feasible) for number, point in enumerate(points)
    )
    return SweepRecord("1", "s", "f" * 32, objectives, None, trials, prefer=prefer)


def _trial(number: int, metrics: dict[str, float], noise: float, feasible: bool) -> Trial:
    intervals = dict.fromkeys(metrics, noise) if noise else {}
    return Trial(
        f"{number:04d}", "", "converged", metrics=metrics, intervals=intervals, standing="met" if feasible else "violated"
    )


def made(record: SweepRecord) -> Recommendation:
    return recommend(record, find_front(record))


#: f2 = (f1 - 1)^4: the knee is where its slope is -1, at f1 = 1 - 4^(-1/3) = 0.37.
CURVE = [(x, 10 * (x - 1) ** 4) for x in np.linspace(0, 1, 101)]


def test_the_knee_is_where_one_range_is_traded_for_another() -> None:
    recommendation = made(sweep(CURVE))
    assert recommendation.knee is not None and recommendation.knee.metric("objective") == pytest.approx(0.37)
    assert recommendation.knee_reason.startswith(f"Trial {recommendation.knee.trial_id}: the knee.")
    assert (
        "Going on to 0036 buys 0.01 of objective and costs 0.1 of eval/frechet; going on to 0038 buys 0.0"
        in recommendation.knee_reason
    )
    assert recommendation.trial is recommendation.knee and recommendation.words_of(recommendation.knee) == ("knee",)


def test_scale_direction_and_order_do_not_move_it() -> None:
    other = [(1000 * x + 5, -y / 3) for x, y in CURVE][::-1]
    directions: dict[str, Direction] = {"objective": "minimize", "eval/frechet": "maximize"}
    found = made(sweep(other, directions))
    assert found.knee is not None and found.knee.metric("objective") == pytest.approx(375.0)


def test_the_knee_of_three_objectives_is_by_brute_force_the_best_bargain() -> None:
    """On the sphere's octant, seen from the corner, every other point loses more than it gains."""
    rng = np.random.default_rng(0)
    directions = np.abs(rng.standard_normal((60, 3)))
    points = 1 - directions / np.linalg.norm(directions, axis=1, keepdims=True)
    names: dict[str, Direction] = {"objective": "minimize", "eval/a": "minimize", "eval/b": "minimize"}
    found = made(sweep(points.tolist(), names))
    assert found.knee is not None
    here = np.array([found.knee.metric(name) for name in names])
    changes = (points - here) / np.ptp(points, axis=0)
    assert (changes.clip(0).sum(axis=1) >= (-changes).clip(0).sum(axis=1)).all()
    assert np.linalg.norm(here - here.mean()) < 0.2  # near the diagonal


def test_a_straight_front_has_no_knee() -> None:
    line = [(x, 1 - x) for x in np.linspace(0, 1, 7)]
    for points in (line, [(x, y - 0.008 * (0 < x < 1)) for x, y in line]):
        found = made(sweep(points))
        assert found.knee is None and found.trial is None and "the front is straight" in found.knee_reason
    simplex = [(a / 4, b / 4, (4 - a - b) / 4) for a in range(5) for b in range(5 - a)]
    assert made(sweep(simplex, {**TWO, "eval/b": "minimize"})).knee is None


@pytest.mark.parametrize("noise", [0.0, 1e-3])
def test_a_concave_front_has_no_knee_and_is_not_called_straight(noise: float) -> None:
    """The middle of 1 - x^2 lies 0.25 above the line between its ends; that of the quarter circle sqrt(2) - 1."""
    for curve, dent in ((lambda x: 1 - x**2, "0.25"), (lambda x: np.sqrt(1 - x**2), "0.41")):
        found = made(sweep([(x, curve(x)) for x in np.sin(np.linspace(0, np.pi / 2, 101))], noise=noise))
        assert found.knee is None and f"bends the other way, by {dent}" in found.knee_reason, found.knee_reason
    within = made(sweep([(x, 1 - x**2) for x in np.linspace(0, 1, 7)], noise=0.2))
    assert within.knee is None and "bends the other way" not in within.knee_reason


def test_what_noise_may_have_bent_is_no_knee_and_what_it_hides_is_not_claimed() -> None:
    bent = [(x, 1 - x - 0.1 * (x == 0.5)) for x in np.linspace(0, 1, 5)]
    assert made(sweep(bent)).knee is not None
    straight = made(sweep(bent, noise=0.1))
    assert straight.knee is None and "it bulges by 0.1 ± 0.1" in straight.knee_reason
    lost = made(sweep(bent, noise=4.2e3)).knee_reason
    assert "errors are as large as the front itself" in lost and "bulges" not in lost and "±" not in lost
    curve = [(x, (x - 1) ** 4) for x in np.linspace(0, 1, 21)]
    recommendation = made(sweep(curve, noise=0.06))
    assert recommendation.knee is not None and "are not told apart from it" in recommendation.knee_reason
    assert "Going on to" not in recommendation.knee_reason  # both neighbours lie within the noise


def test_few_points_and_equal_ones() -> None:
    assert made(sweep([(1, 2)])).knee_reason == "Trial 0000: the only point of the front."
    assert made(sweep([(1, 2), (1, 2)])).knee_reason == "Trial 0000: the only point of the front, 2 times."
    two = made(sweep([(1, 2), (2, 1), (2, 1)]))
    assert two.knee is None
    assert (
        two.knee_reason
        == "No knee: the front has two points. From 0000, going on to 0001 buys 1 of eval/frechet and costs 1 of objective."
    )
    doubled = made(sweep([*CURVE, *CURVE]))
    assert doubled.knee is not None and doubled.knee.trial_id == made(sweep(CURVE)).knee.trial_id  # type: ignore[union-attr]
    flat = [(x, (x - 1) ** 4, 3.0) for x in np.linspace(0, 1, 21)]  # an objective that does not vary
    record = sweep(flat, {**TWO, "eval/b": "minimize"})
    assert (
        find_knee(Points.of(record, record.trials)).row == find_knee(Points.of(sweep([p[:2] for p in flat]), record.trials)).row
    )


def test_weights_are_by_brute_force_and_in_their_scale() -> None:
    for weights, scale, best in (
        ({"objective": 1.0, "eval/frechet": 2.0}, "range", min(CURVE, key=lambda p: p[0] + 2 * p[1] / 10)),
        ({"objective": 1.0, "eval/frechet": 2.0}, "unit", min(CURVE, key=lambda p: p[0] + 2 * p[1])),
        ({"eval/frechet": 1.0}, "range", CURVE[-1]),
    ):
        recommendation = made(sweep(CURVE, prefer=Preference(weights, scale)))  # type: ignore[arg-type]
        assert recommendation.preferred is not None and recommendation.preferred.metric("objective") == best[0]
        assert recommendation.trial is recommendation.preferred and "the best by your weights" in recommendation.preferred_reason
    noisy = made(sweep(CURVE, noise=0.1, prefer=Preference({"objective": 1.0, "eval/frechet": 2.0})))
    assert "more are not told apart from it by them" in noisy.preferred_reason


MEETS = Preference(best="objective", meets=(Limit("eval/frechet", "at_most", 5.0),))


def test_the_cheapest_that_meets_is_by_brute_force_also_off_the_front() -> None:
    recommendation = made(sweep(CURVE, prefer=MEETS))
    assert recommendation.preferred is not None
    assert recommendation.preferred.metric("objective") == min(x for x, y in CURVE if y <= 5)
    assert recommendation.preferred_reason.startswith(
        f"Trial {recommendation.preferred.trial_id}: the best objective (0.16) of the 85 feasible trials with"
    )
    assert "eval/frechet ≤ 5" in recommendation.preferred_reason
    record = sweep([(1, 2), (2, 3)], prefer=Preference(best="objective", meets=(Limit("eval/recall", "at_least", 0.5),)))
    better = replace(record.trials[1], metrics={**record.trials[1].metrics, "eval/recall": 0.6})
    worse = replace(record.trials[0], metrics={**record.trials[0].metrics, "eval/recall": 0.4})
    recommendation = made(replace(record, trials=(worse, better)))
    assert (
        recommendation.preferred is better and "the only feasible trial with eval/recall ≥ 0.5" in recommendation.preferred_reason
    )


def test_noise_in_what_is_met_and_in_the_best_is_told() -> None:
    recommendation = made(sweep([(1.0, 4.95), (1.05, 4.0), (3.0, 1.0)], noise=0.1, prefer=MEETS))
    assert "0001 is not told apart from it in objective" in recommendation.preferred_reason
    assert "It keeps eval/frechet ≤ 5 by 0.05, less than its noise (± 0.1)" in recommendation.preferred_reason


def test_where_nothing_meets_it_names_the_nearest_and_what_it_lacks() -> None:
    wish = Preference(best="objective", meets=(Limit("objective", "at_most", 0.2), Limit("eval/frechet", "at_most", 0.1)))
    recommendation = made(sweep(CURVE, prefer=wish))
    assert recommendation.preferred is None and recommendation.trial is None and recommendation.nearest is not None
    short = [max(max(0, x - 0.2), max(0, y - 0.1) / 10) for x, y in CURVE]
    assert recommendation.nearest.metric("objective") == CURVE[int(np.argmin(short))][0]
    assert (
        "comes nearest: objective is" in recommendation.preferred_reason
        and "too much and eval/frechet is" in recommendation.preferred_reason
    )
    unknown = made(sweep(CURVE, prefer=Preference(best="objective", meets=(Limit("eval/frechett", "at_most", 1.0),))))
    assert (
        "No trial has the metric eval/frechett" in unknown.preferred_reason
        and "Did you mean 'eval/frechet'?" in unknown.preferred_reason
    )


def test_prices_say_what_would_make_up_for_it() -> None:
    """f = b^2 / 2, so that at b = -1 the price is 1: 0.1 of the objective costs 0.1 of the budget."""
    case = problem("A1")
    trials = case.observe(np.array([[-2.0], [-1.0]]), 0.0, np.random.default_rng(0))
    lower = replace(record_of(trials), prefer=Preference(best="objective", meets=(Limit("objective", "at_most", 0.4),)))
    assert made(lower).preferred_reason == (
        "No feasible trial has objective ≤ 0.4. Trial 0001 comes nearest: objective is 0.5, 0.1 too much. By its price, "
        "loosening `a` by 0.1 would make up for the objective, to first order."
    )
    tighter = replace(lower, prefer=Preference(best="objective", meets=(Limit("value/a", "at_most", -2.5),)))
    assert made(tighter).preferred_reason.endswith("By its price, tightening `a` by 0.5 costs at least 1 of the objective.")
    # What neither brings about is not advised: tightening lowers a value that is at most its budget, loosening the objective.
    for limit in (Limit("value/a", "at_least", 1.0), Limit("objective", "at_least", 9.0)):
        assert "price" not in made(replace(lower, prefer=Preference(best="objective", meets=(limit,)))).preferred_reason
    mirrored = record_of(trials, ("at_least",), maximizes=True)
    for limit, advised in ((Limit("objective", "at_least", -0.4), True), (Limit("objective", "at_most", -9.0), False),
                           (Limit("value/a", "at_least", 2.5), True), (Limit("value/a", "at_most", -1.0), False)):  # fmt: skip
        said = made(replace(mirrored, prefer=Preference(best="objective", meets=(limit,)))).preferred_reason
        assert ("By its price" in said) == advised, said


def test_where_nothing_is_feasible_the_nearest_is_named_with_its_price() -> None:
    case = problem("A1")
    record = record_of(case.observe(np.array([[-2.0], [-1.0]]), 0.0, np.random.default_rng(0)))

    def missing(trial: Trial, by: float) -> Trial:
        outcome: ConstraintRecord = replace(trial.constraints[0], slack=-by, budget=trial.constraints[0].value - by)
        return replace(trial, standing="violated", constraints=(outcome,), status="infeasible")

    none = replace(record, trials=(missing(record.trials[0], 0.3), missing(record.trials[1], 0.2)))
    recommendation = made(none)
    assert recommendation.knee is None and recommendation.nearest is not None and recommendation.nearest.trial_id == "0001"
    assert recommendation.knee_reason.startswith(
        "Nothing is feasible; trial 0001 comes nearest: `a` misses its budget -1.2 by 0.2."
    )
    assert "buys" in recommendation.knee_reason
    assert made(sweep([])).knee_reason == "No trial of the sweep has ended yet, so there is no front."


def test_a_preference_survives_its_tag_and_a_bad_tag_is_refused() -> None:
    for preference in (MEETS, Preference({"objective": 1.0, "eval/frechet": 2.0}, "unit")):
        assert read_preference(json.dumps(preference.to_json()), "r") == preference
    for text in (
        "[]",
        "{}",
        "nonsense",
        '{"weights": {"a": -1}}',
        '{"best": "a", "meets": {"b": {"below": 1}}}',
        '{"weights": {"a": NaN}}',
        '{"meets": {"b": {"at_most": 1}}}',
    ):
        with pytest.raises(ReviewError, match=r"dualsweep\.prefer of run r must be"):
            read_preference(text, "r")
