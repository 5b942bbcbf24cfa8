"""The central dual step: unequal shards give the one-process answer; bad reports never move a multiplier."""

import json

import numpy as np
import pytest

from dualsweep.trainer.dual.controller import Controller
from dualsweep.trainer.dual.problem import ConstrainedProblem
from dualsweep.trainer.dual.reduction import reduce
from dualsweep.trainer.dual.state import DualState, SlackReport, version_at
from dualsweep.trainer.recipe.dual import Dual


def problem(budgets=(0.5, 0.7), relative=(False, False)):
    return ConstrainedProblem(tuple(f"c{i}" for i in range(len(budgets))), np.array(budgets), np.array(relative))


def report(values, step=0, rank=0):
    """A report from per-sample values: a list [1 + m] of arrays."""
    arrays = [np.asarray(each, dtype=float) for each in values]
    return SlackReport(
        step,
        rank,
        np.array([a.size for a in arrays], float),
        np.array([a.sum() for a in arrays]),
        np.array([(a**2).sum() for a in arrays]),
    )


def controller(dual=None, total=100, **kwargs):
    return Controller(problem(**kwargs), dual or Dual(step_size=0.1), total)


@pytest.mark.parametrize("world", [1, 2, 3, 5])
def test_unequal_shards_give_the_one_process_answer(world):
    rng = np.random.default_rng(1)
    parts = [rng.gamma(2.0, size=n) for n in (31, 7, 12)]
    whole = reduce([report(parts)])
    cuts = [np.sort(rng.integers(0, len(part) + 1, world - 1)) for part in parts]
    shards = [np.split(part, cut) for part, cut in zip(parts, cuts, strict=True)]
    reports = [report([shards[p][rank] for p in range(3)], rank=rank) for rank in range(world)]
    reduced = reduce(reports)
    np.testing.assert_allclose(reduced.mean, [part.mean() for part in parts], rtol=1e-12)
    np.testing.assert_allclose(reduced.variance, [part.var(ddof=1) / len(part) for part in parts], rtol=1e-9)
    np.testing.assert_allclose(reduced.mean, whole.mean, rtol=1e-12)


def test_the_order_of_arrival_changes_no_bit():
    rng = np.random.default_rng(2)
    reports = [report([rng.random(5), rng.random(4), rng.random(3)], rank=rank) for rank in range(4)]
    one, other = reduce(reports), reduce(reports[::-1])
    assert one.mean.tobytes() == other.mean.tobytes() and one.variance.tobytes() == other.variance.tobytes()


def test_a_dual_step_by_hand():
    state = controller().advance(controller().first(), [report([[1.0], [0.9, 0.7], [0.1]])], 1)
    # slacks: 0.5 - 0.8 = -0.3 and 0.7 - 0.1 = 0.6; lambda = [0 + 0.1 * 0.3]_+, [0 - 0.06]_+
    np.testing.assert_allclose(state.multipliers, [0.03, 0.0])
    assert state.version == 1


def test_a_relative_constraint_bounds_the_difference():
    state = controller(budgets=(0.1,), relative=(True,)).advance(
        controller(budgets=(0.1,), relative=(True,)).first(), [report([[1.0, 1.0], [1.5, 1.3]])], 1
    )
    np.testing.assert_allclose(state.multipliers, [0.1 * 0.3])  # g - f = 0.4, slack -0.3


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_non_finite_value_moves_no_multiplier_but_the_others(bad):
    first = DualState.first(problem(), Dual(start=0.2))
    state = controller().advance(first, [report([[1.0], [bad], [1.7]])], 1)
    assert state.multipliers[0] == 0.2 and state.multipliers[1] == pytest.approx(0.3)
    assert list(state.skipped) == [1, 0]


def test_a_missing_report_moves_no_multiplier():
    first = DualState.first(problem(), Dual(start=0.2))
    state = controller().advance(first, [report([[9.0], [9.0], [9.0]])], world=2)
    np.testing.assert_array_equal(state.multipliers, first.multipliers)
    assert state.version == 1 and state.skipped_in_a_row == 1


def test_a_constraint_without_samples_is_left_alone():
    state = controller().advance(DualState.first(problem(), Dual(start=0.2)), [report([[1.0], [], [1.7]])], 1)
    assert state.multipliers[0] == 0.2


def test_a_non_finite_objective_spares_absolute_constraints_and_skips_relative_ones():
    both = ConstrainedProblem(("a", "r"), np.array([0.5, 0.1]), np.array([False, True]))
    state = Controller(both, Dual(step_size=0.1), 10).advance(
        DualState.first(both, Dual()), [report([[np.nan], [1.5], [1.0]])], 1
    )
    np.testing.assert_allclose(state.multipliers, [0.1, 0.0])


def test_warm_up_keeps_the_multipliers():
    c = controller(Dual(step_size=0.1, warmup=6, every=2))
    state = c.first()
    for step in range(5):
        state = c.advance(state, [report([[1.0], [2.0], [2.0]], step)], 1)
        assert bool((state.multipliers > 0).all()) == (step >= 3)


def test_averaged_slacks_start_from_the_first():
    c = controller(Dual(step_size=1.0, average=0.9))
    state = c.advance(c.first(), [report([[0.0], [1.5], [0.7]])], 1)
    np.testing.assert_allclose(state.average, [-1.0, 0.0])
    state = c.advance(state, [report([[0.0], [0.5], [0.7]], 1)], 1)
    np.testing.assert_allclose(state.average, [-0.9, 0.0])


def test_at_the_cap_with_a_violation_a_run_is_infeasible_and_says_which():
    c = controller(Dual(step_size=1.0, cap=2.0, patience=3), budgets=(0.1, 5.0))
    state = c.first()
    for step in range(8):
        assert (c.infeasible(state) is None) == (step < 6)
        state = c.advance(state, [report([[1.0], [0.6], [0.0]], step)], 1)
    why = c.infeasible(state)
    assert why and "`c0`" in why and "`c1`" not in why and "0.6" in why
    assert state.multipliers[0] == 2.0 and "(2) at dual.cap" in why and "or raise dual.cap" in why


def test_at_the_limit_of_their_sum_the_cap_is_not_to_be_raised():
    c = controller(Dual(step_size=1.0, cap=10.0, patience=3), budgets=(0.1, 0.1), relative=(True, True))
    state = c.first()
    for step in range(6):
        state = c.advance(state, [report([[0.0], [1.1], [1.1]], step)], 1)
    why = c.infeasible(state)
    assert why and "(0.475) at the limit of the sum over constraints with relative_to, 0.95" in why
    assert "dual.cap" not in why and why.endswith(": loosen that budget")


def test_patience_counts_only_once_multipliers_may_move():
    c = controller(Dual(step_size=1.0, start=1.0, cap=1.0, warmup=10, patience=3), budgets=(0.1, 5.0))
    state = c.first()
    for step in range(13):
        assert c.infeasible(state) is None
        state = c.advance(state, [report([[1.0], [0.6], [0.0]], step)], 1)
    assert "for 3 dual steps" in (c.infeasible(state) or "")


def test_relative_multipliers_stay_inside_the_duals_domain():
    p = problem((0.0, 0.0), (True, True))
    projected = p.project(np.array([3.0, 2.9]), cap=10.0)
    assert projected.sum() == pytest.approx(0.95) and projected[0] - projected[1] == pytest.approx(0.1)
    assert p.coefficients(projected)[0] == pytest.approx(0.05)


def test_projection_is_the_nearest_point_by_brute_force():
    p = problem((0.0, 0.0), (True, True))
    point = np.array([0.9, 0.4])
    grid = np.stack(np.meshgrid(np.linspace(0, 1, 401), np.linspace(0, 1, 401)), -1).reshape(-1, 2)
    inside = grid[grid.sum(1) <= 0.95 + 1e-9]
    best = inside[((inside - point) ** 2).sum(1).argmin()]
    np.testing.assert_allclose(p.project(point, 10.0), best, atol=3e-3)


def test_a_retried_or_foreign_report_is_refused():
    with pytest.raises(ValueError, match="one report of each rank"):
        controller().advance(controller().first(), [report([[1], [1], [1]]), report([[1], [1], [1]])], 2)
    with pytest.raises(ValueError, match="dual step 0, but got 3"):
        controller().advance(controller().first(), [report([[1], [1], [1]], step=3)], 1)


def test_the_state_survives_json_bit_for_bit():
    c = controller(Dual.model_validate({"step_size": 0.1, "rule": "nu_pi", "kappa_p": 0.3, "average": 0.5}), total=2)
    state, rng = c.first(), np.random.default_rng(0)
    for step in range(3):
        state = c.advance(state, [report([rng.random(4), rng.random(3), rng.random(1)], step)], 1)
    again = DualState.from_json(json.loads(json.dumps(state.to_json())))
    assert json.dumps(again.to_json()) == json.dumps(state.to_json())
    assert again.multipliers.tobytes() == state.multipliers.tobytes() and again.tails[-1].steps == state.tails[-1].steps > 0


def test_a_state_refuses_bad_multipliers():
    first = controller().first()
    with pytest.raises(ValueError, match="finite and >= 0"):
        first.with_multipliers(np.array([np.nan, 0.0]))
    with pytest.raises(ValueError, match="finite and >= 0"):
        first.with_multipliers(np.array([-0.1, 0.0]))


@pytest.mark.parametrize(
    "every, staleness, versions", [(1, 0, [0, 1, 2, 3]), (1, 1, [0, 0, 1, 2]), (2, 0, [0, 0, 1, 1]), (2, 1, [0, 0, 0, 1])]
)
def test_versions_are_exact(every, staleness, versions):
    assert [version_at(step, every, staleness) for step in range(4)] == versions
