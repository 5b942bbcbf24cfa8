"""The search as pure functions: what it asks after which history, and when it ends."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dualsweep.analysis.certified.axes import Axis, Box
from dualsweep.analysis.certified.observations import Observations, Vector
from dualsweep.sweeps.dual_informed.placing import apart, improvements
from dualsweep.sweeps.dual_informed.search import JUDGED_EACH_UP_TO, SPACING, History, Search, judged_at
from tests.analysis.certified.drawn import measured
from tests.analysis.certified.problems import Problem, problem
from tests.analysis.certified.test_surrogate import box_of


def history_of(case: Problem, budgets: Vector, pending: Vector | None = None, noise: float = 0.0, seed: int = 0) -> History:
    nothing = np.zeros((0, case.size))
    trials = case.base().joined(case.observe(budgets, noise, np.random.default_rng(seed)))
    return History(trials, nothing, nothing if pending is None else pending, free=1)


def gone(case: Problem, search: Search, count: int, noise: float = 0.0) -> History:
    rng = np.random.default_rng(0)
    history = history_of(case, np.zeros((0, case.size)))
    for _ in range(count):
        found = case.observe(search.ask(history)[None], noise, rng)
        history = replace(history, trials=history.trials.joined(found))
    return history


@pytest.mark.parametrize("name", ["A1", "A3"])
def test_the_tightest_corner_comes_first_and_nothing_twice(name: str) -> None:
    case = problem(name)
    search = Search(box_of(case))
    history = gone(case, search, 6)
    asked = history.trials.asked[1:]
    assert asked[0] == pytest.approx(case.tight)
    for i in range(1, len(asked)):
        assert apart(search.box, asked[i : i + 1], asked[:i])[0] >= SPACING - 1e-9


def test_pending_trials_go_to_different_places() -> None:
    case = problem("B3")
    search = Search(box_of(case), seed=3)
    nothing = np.zeros((0, 3))
    pending = nothing
    for done in (nothing, case.tight[None]):  # before anything came back, and after
        pending = nothing
        for _ in range(5):
            history = history_of(case, done, pending)
            pending = np.concatenate([pending, search.ask(history)[None]])
        for i in range(1, 5):
            assert apart(search.box, pending[i : i + 1], pending[:i])[0] >= SPACING
    assert not (pending == case.tight).all(axis=1).any()


def test_predicted_outcomes_of_pending_trials_move_the_gap() -> None:
    """Without them the widest gap would be that of the same place again."""
    case = problem("A1")
    search = Search(box_of(case))
    done = np.array([[-2.0], [-1.0]])
    first = search.ask(history_of(case, done))
    second = search.ask(history_of(case, done, np.array([first])))
    assert abs(first[0] - second[0]) > 0.3


def test_an_infeasible_tightest_corner_shrinks_the_box() -> None:
    """No model gets below g = -1.2; the trial that was asked for -2 ended there, at its best."""
    case = problem("A1")
    search = Search(box_of(case))
    stuck = replace(case.observe(np.array([[-1.2]]), 0.0, np.random.default_rng(0)), asked=np.array([[-2.0]]))
    history = history_of(case, np.zeros((0, 1)))
    history = replace(history, trials=history.trials.joined(stuck))
    for _ in range(5):
        asked = search.ask(history)
        assert asked[0] >= -1.2 - 1e-9
        history = replace(history, trials=history.trials.joined(case.observe(asked[None], 0.0, np.random.default_rng(0))))
    assert search.verdict(history).stop


def test_budgets_as_tight_as_infeasible_ones_are_not_asked_for() -> None:
    case = problem("A3")
    search = Search(box_of(case))
    rng = np.random.default_rng(0)
    bad = np.array([-1.5, -1.0, -1.0])
    missed = replace(case.observe(np.array([[-1.5, -0.4, -1.0]]), 0.0, rng), asked=bad[None])
    history = history_of(case, case.tight[None])
    history = replace(history, trials=history.trials.joined(missed))
    for _ in range(6):
        asked = search.ask(history)
        assert (asked > bad + 1e-9).any()
        history = replace(history, trials=history.trials.joined(case.observe(asked[None], 0.0, rng)))


def test_failures_at_the_corner_are_tried_once_more_and_then_halfway() -> None:
    case = problem("A1")
    search, nothing = Search(box_of(case)), np.zeros((0, 1))
    history = History(Observations.none(np.zeros(1, dtype=np.intp), np.zeros(1, dtype=np.bool_)), nothing, nothing)
    asked: list[float] = []
    for _ in range(5):
        asked.append(search.ask(history)[0])
        history = replace(history, failed=np.array(asked)[:, None])
    assert asked == pytest.approx([-2, -2, -1, -1, -0.5])


def test_equalities_begin_at_both_ends() -> None:
    search = Search(Box((Axis(-1.0, 2.0, "equals"),)), tolerance=0.1)
    history = History(
        Observations.none(np.zeros(1, dtype=np.intp), np.ones(1, dtype=np.bool_)), np.zeros((0, 1)), np.zeros((0, 1))
    )
    asked: list[float] = []
    while not search.verdict(history).stop and len(asked) < 12:
        at = search.ask(history)[None]
        asked.append(at[0, 0])
        nothing = np.zeros((1, 1))
        seen = replace(
            history.trials, asked=at, objective=at[:, 0] ** 2 / 2, values=at, multipliers=-at,
            objective_error=nothing[0], value_errors=nothing, multiplier_errors=nothing,
        )  # fmt: skip
        history = replace(history, trials=history.trials.joined(seen))
    assert asked[:2] == [-1.0, 2.0]
    assert len(asked) < 12


def test_budgets_that_one_value_of_an_equality_makes_infeasible_are_asked_for_at_others() -> None:
    """P*(a, b) = (a - 1/2)² + (1 - b)² with the value a met exactly, which leaves b at |a - 1/2| or more."""
    search = Search(Box((Axis(0.0, 1.0, "equals"), Axis(0.0, 1.0))))

    def solved(asked: Vector) -> Observations:
        a, b = asked[:, 0], np.maximum(asked[:, 1], np.abs(asked[:, 0] - 0.5))
        nothing = np.zeros(asked.shape)
        return Observations(
            asked, (a - 0.5) ** 2 + (1 - b) ** 2, np.column_stack([a, b]), np.column_stack([1 - 2 * a, 2 - 2 * b]),
            nothing[:, 0], nothing, nothing, np.arange(2), np.array([True, False]),
        )  # fmt: skip

    missed, met = [[0.0, 0.0], [1.0, 0.0], [0.95, 0.3]], [[0.5, 0.0], [0.5, 1.0], [0.0, 1.0], [1.0, 1.0], [0.46, 0.54]]
    history = History(solved(np.array(missed + met)), np.zeros((0, 2)), np.zeros((0, 2)))
    asked = []
    for _ in range(3):
        asked.append(search.ask(history))
        history = replace(history, trials=history.trials.joined(solved(asked[-1][None])))
    assert any(a < 0.95 and b < 0.3 for a, b in asked)


def test_the_end_and_its_reason() -> None:
    case = problem("A1")
    narrow = Search(box_of(case), tolerance=0.05)
    history = history_of(case, np.zeros((0, 1)))
    assert not narrow.verdict(history).stop and "open" in narrow.verdict(history).reason
    assert not narrow.verdict(gone(case, narrow, 2)).stop
    done = narrow.verdict(gone(case, narrow, 8))
    assert done.stop and "narrower than the tolerance" in done.reason and done.gap <= 0.05


def test_the_end_waits_for_the_tightest_corner_that_is_still_running() -> None:
    """What is running may tell of a front that is steep there, and a trial whose process died tells nothing."""
    case = problem("A1")
    search = Search(box_of(case))
    waiting = History(case.base(), np.zeros((0, 1)), case.tight[None])
    assert not search.verdict(waiting).stop and "open" in search.verdict(waiting).reason
    assert search.ask(waiting) != pytest.approx(case.tight)  # it is not asked for twice

    exact = Search(box_of(case), tolerance=0.0)
    crowded = np.linspace(-2, 0, 35)[:, None]
    running = np.abs(crowded[:, 0] + 1) < 0.1
    assert not exact.verdict(history_of(case, crowded[~running], crowded[running])).stop


def test_the_end_knows_of_no_means_over_trials_that_may_share_their_draws() -> None:
    """Of 40 trials whose draws have a correlation of 0.9 the band was once narrower than the one that knows the correlation."""
    case = problem("A1")
    search, trials = Search(box_of(case), tolerance=0.0), measured(case, 40, 0.02, 0.9, 0)
    unknown, told = (
        search.verdict(History(each, np.zeros((0, 1)), np.zeros((0, 1))))
        for each in (replace(trials, covariance=None, related=None), replace(trials, related=None))
    )
    assert unknown.gap >= told.gap > 0


def test_noise_ends_it_too_and_so_do_budgets_that_run_out() -> None:
    case = problem("A1")
    narrow = Search(box_of(case), tolerance=0.05)
    noisy = narrow.verdict(gone(case, narrow, 8, noise=0.05))
    assert noisy.stop and "noise floor" in noisy.reason
    assert noisy.gap > 0.05 and noisy.floor > noisy.gap - 0.05

    exact = Search(box_of(case), tolerance=0.0)
    crowded = np.linspace(-2, 0, 35)[:, None]
    full = exact.verdict(history_of(case, crowded))
    assert full.stop and "no budgets are left" in full.reason


def test_the_noise_floor_is_not_the_end_while_trials_could_narrow_the_band() -> None:
    case = problem("A3")
    search = Search(box_of(case))
    verdict = search.verdict(gone(case, search, 3, noise=0.02))
    assert not verdict.stop and verdict.gap > verdict.floor > 0


def test_the_end_is_judged_after_each_trial_and_of_many_after_a_sixteenth_more_at_most() -> None:
    due = np.array([judged_at(ended) for ended in range(5000)])
    assert (due[: JUDGED_EACH_UP_TO + 1] == np.arange(JUDGED_EACH_UP_TO + 1)).all()
    assert (np.diff(due) >= 0).all() and (due <= np.arange(5000)).all()
    assert (np.arange(5000) - due < np.arange(5000) / 16 + 1).all()
    assert len(set(due[2500:])) <= 32  # seconds each


def test_hypervolume_improvements_are_areas() -> None:
    """Two attained points and four offers in one budget, scaled to the unit square with the reference at 1.1."""
    trials = problem("A1").observe(np.array([[-2.0], [0.0]]), 0.0, np.random.default_rng(0))  # (b, f) = (-2, 2) and (0, 0)
    offers, front = np.array([[-1.0], [-0.5], [-1.5], [0.0]]), np.array([0.5, 1.0, 2.0, 0.0])
    units = np.column_stack([(offers[:, 0] + 2) / 2, front / 2])  # (0.5, 0.25), (0.75, 0.5), (0.25, 1) and an old point
    corner = [(1.0 - b) * (1.0 - f) for b, f in units]  # left of the point (1, 0) and below the point (0, 1)
    assert improvements(trials, offers, front) == pytest.approx([corner[0], corner[1], 0.0, 0.0])
