"""Every rule on problems with known multipliers: exact best responses, sampled reports, and a primal that lags."""

import json

import numpy as np
import pytest

from dualsweep.trainer.dual.controller import Controller
from dualsweep.trainer.dual.problem import ConstrainedProblem
from dualsweep.trainer.dual.reduction import reduce
from dualsweep.trainer.dual.state import DualState, SlackReport
from dualsweep.trainer.recipe.dual import Dual
from tests.trainer.dual.oracles import PLANE, Alignment, alignment, minority, play

RULES = [
    Dual(rule="ascent", step_size=0.5), Dual.model_validate({"rule": "nu_pi", "step_size": 0.5, "kappa_p": 0.3, "nu": 0.5}),
    Dual(rule="augmented_lagrangian", step_size=0.3), Dual(rule="newton"), Dual(rule="secant"),
]  # fmt: skip
SHORT = [Dual(rule="ascent", step_size=0.1), Dual(rule="augmented_lagrangian", step_size=0.05), Dual(rule="secant")]


def named(dual):
    return dual.rule


def error(state, oracle):
    return np.linalg.norm(state.multipliers - oracle.solution) / np.linalg.norm(oracle.solution)


@pytest.mark.parametrize("dual", RULES, ids=named)
@pytest.mark.parametrize("size", [1, 2, 3])
def test_gaussian_alignment(dual, size):
    oracle = alignment(size)
    last = play(oracle, dual, 150)[-1]
    np.testing.assert_allclose(last.multipliers, oracle.solution, atol=1e-5)
    assert size < 3 or (last.multipliers[2] == 0 and oracle.problem.slacks(last.means)[2] > 0.1)


def test_the_written_out_case():
    oracle = alignment(2)
    last = play(oracle, Dual(rule="newton"), 10)[-1]
    np.testing.assert_allclose(last.multipliers, [0.53659, 0.87805], atol=1e-5)
    assert last.means[0] == pytest.approx(0.47805, abs=1e-5)


@pytest.mark.parametrize("dual", SHORT, ids=named)
def test_minority_classes(dual):
    last = play(minority(), dual, 200)[-1]
    np.testing.assert_allclose(last.multipliers, [0.090729, 0.090729, 0.091493], atol=2e-4 if dual.rule == "secant" else 1e-6)


@pytest.mark.parametrize("dual", [each.model_copy(update={"step_size": 0.4}) for each in RULES], ids=named)
def test_equalities_have_multipliers_of_either_sign(dual):
    problem = ConstrainedProblem(("a", "b"), np.array([0.8, -0.6]), np.zeros(2, bool), ("equals", "equals"))
    oracle = Alignment(problem, -np.linalg.solve(PLANE, problem.budgets), np.zeros(2), PLANE)
    assert oracle.solution[0] < 0 < oracle.solution[1]
    last = play(oracle, dual, 200)[-1]
    np.testing.assert_allclose(last.multipliers, oracle.solution, atol=1e-4)


@pytest.mark.parametrize("dual", [*RULES, Dual(rule="resilient", step_size=0.4)], ids=named)
def test_resilient_budgets_give_way_as_the_closed_form_says(dual):
    """(PLANE + I / alpha) lambda = c: the tilt and the relaxation share the work."""
    problem = ConstrainedProblem(
        ("a", "b"), np.array([0.8, 0.6]), np.zeros(2, bool), ("at_least",) * 2, softness=1 / np.array([2.0, 5.0])
    )
    oracle = Alignment(problem, np.linalg.solve(PLANE + np.diag(problem.softness), problem.budgets), np.zeros(2), PLANE)
    last = play(oracle, dual, 200)[-1]
    np.testing.assert_allclose(last.multipliers, oracle.solution, atol=1e-5)
    np.testing.assert_allclose(problem.slacks(last.means), -problem.relaxations(last.multipliers), atol=1e-4)


def test_the_augmented_lagrangian_of_a_soft_budget_is_stable_for_any_rho():
    problem = ConstrainedProblem(("a",), np.array([0.8]), np.zeros(1, bool), ("at_least",), softness=np.array([10.0]))
    controller = Controller(problem, Dual(rule="augmented_lagrangian", step_size=50.0), 10)
    state = controller.first()
    for step in range(10):  # the slack stays as it is: lambda = [-s alpha]_+
        state = controller.advance(state, [SlackReport(step, 0, np.ones(2), np.array([0.0, 0.3]), np.ones(2))], 1)
    np.testing.assert_allclose(state.multipliers, 0.5 / 10.0, atol=1e-6)


def test_the_augmented_lagrangian_applies_its_multipliers_one_step_ahead():
    problem = ConstrainedProblem(("a", "b"), np.array([0.5, 0.7]), np.zeros(2, bool))
    controller = Controller(problem, Dual(rule="augmented_lagrangian", step_size=2.0, warmup=1), 10)
    one = np.ones(3)
    warming = controller.advance(controller.first(), [SlackReport(0, 0, one, np.array([0, 0.8, 0.1]), one)], 1)
    np.testing.assert_array_equal(warming.applied, [0.0, 0.0])
    state = controller.advance(warming, [SlackReport(1, 0, one, np.array([0, 0.8, 0.1]), one)], 1)
    np.testing.assert_allclose(state.multipliers, [0.6, 0.0])  # [0 + 2 * 0.3]_+
    np.testing.assert_allclose(state.applied, [1.2, 0.0])
    after = controller.advance(state, [SlackReport(2, 0, one, np.array([0, 0.5, 0.1]), one)], 1)
    np.testing.assert_allclose(after.previous, state.applied)
    lost = controller.advance(after, [], 1)
    np.testing.assert_allclose(lost.applied, after.applied)


def test_step_sizes_by_name():
    problem = ConstrainedProblem(("a", "b"), np.array([0.5, 0.5]), np.zeros(2, bool))
    controller = Controller(problem, Dual(step_size={"b": 0.3, "a": 0.1}), 10)
    state = controller.advance(controller.first(), [SlackReport(0, 0, np.ones(3), np.ones(3), np.ones(3))], 1)
    np.testing.assert_allclose(state.multipliers, [0.05, 0.15])


def test_an_unreachable_lower_bound_ends_as_infeasible_saying_below():
    problem = ConstrainedProblem(("a",), np.array([5.0]), np.zeros(1, bool), ("at_least",))
    controller = Controller(problem, Dual(step_size=1.0, cap=2.0, patience=3), 10)
    state = controller.first()
    for step in range(5):
        state = controller.advance(state, [SlackReport(step, 0, np.ones(2), np.ones(2), np.ones(2))], 1)
    assert "`a` is at 1, below its budget 5" in (controller.infeasible(state) or "")


@pytest.mark.parametrize("rule, oracle", [("newton", alignment(3)), ("secant", alignment(2)), ("secant", minority())])
def test_second_order_steps_average_the_noise(rule, oracle, sampled):
    last = [play(oracle, Dual(rule=rule), 120, samples=1024, seed=seed)[-1] for seed in sampled.seeds(6)]
    sampled.at_most("root mean square error", np.sqrt(np.mean([error(state, oracle) ** 2 for state in last])), 0.05)


@pytest.mark.parametrize("follow", [0.3, 0.1])
@pytest.mark.parametrize("step_size", [0.01, 0.1, 1.0])
@pytest.mark.parametrize("rule, oracle", [("newton", alignment(2)), ("secant", alignment(2)), ("secant", minority())])
def test_second_order_steps_settle_where_the_primal_lags(rule, oracle, follow, step_size):
    states = play(oracle, Dual(rule=rule, step_size=step_size), 300, follow=follow)
    assert max(error(state, oracle) for state in states[-30:]) < 0.05


@pytest.mark.parametrize("rule", ["newton", "secant"])
def test_the_memory_of_second_order_rules_survives_json_and_goes_on_bit_for_bit(rule):
    oracle = alignment(3)
    states = play(oracle, Dual(rule=rule), 8, samples=64)
    again = DualState.from_json(json.loads(json.dumps(states[5].to_json())))
    assert json.dumps(again.to_json()) == json.dumps(states[5].to_json())
    controller = Controller(oracle.problem, Dual(rule=rule), 8)
    one = np.ones(4)
    report = SlackReport(5, 0, 9 * one, 3 * one, 8 * one, np.eye(4) * 7 + 1)
    assert controller.advance(again, [report], 1).to_json() == controller.advance(states[5], [report], 1).to_json()


def test_the_covariance_of_unequal_shards_is_that_of_all_samples():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 3)) @ rng.normal(size=(3, 3))
    reports = []
    for rank, rows in enumerate(np.split(x, [5, 30])):
        reports.append(SlackReport(0, rank, np.full(3, float(len(rows))), rows.sum(0), (rows**2).sum(0), rows.T @ rows))
    covariance = reduce(reports).covariance
    assert covariance is not None
    np.testing.assert_allclose(covariance, np.cov(x.T), rtol=1e-9)
    assert reduce([*reports[:2], SlackReport(0, 2, *(np.ones((3, 3))))]).covariance is None


def test_newton_without_products_is_ascent():
    problem = ConstrainedProblem(("a", "b"), np.array([0.5, 0.7]), np.zeros(2, bool))
    report = SlackReport(0, 0, np.full(3, 50.0), np.array([50.0, 40.0, 40.0]), np.full(3, 60.0))
    moved = [
        Controller(problem, Dual(rule=rule, step_size=0.1), 10).advance(
            DualState.first(problem, Dual(rule=rule, start=0.2)), [report], 1
        )
        for rule in ("newton", "ascent")
    ]
    np.testing.assert_allclose(moved[0].multipliers, moved[1].multipliers)
