"""Minimax problems: compositions whose best weights are known (method.md, the cases of AND and OR)."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from dualsweep.trainer.dual.controller import Controller
from dualsweep.trainer.dual.problem import ConstrainedProblem, Vector
from dualsweep.trainer.dual.rule import Gains
from dualsweep.trainer.dual.rules.mirror import mirror
from dualsweep.trainer.dual.state import SlackReport
from dualsweep.trainer.recipe.dual import Dual
from tests.trainer.dual.oracles import play


def minimax(size: int) -> ConstrainedProblem:
    return ConstrainedProblem(tuple("abc"[:size]), np.full(size, np.nan), np.zeros(size, bool), simplex=True)


@dataclass(frozen=True)
class Product:
    """AND of one-dimensional Gaussians: min_p max_i KL(p || N(mean_i, variance_i)); a response is (mean, variance)."""

    problem: ConstrainedProblem
    solution: Vector
    means: Vector
    variances: Vector
    joint: bool = False

    def respond(self, multipliers: Vector) -> Vector:
        precision = multipliers @ (1 / self.variances)
        return np.array([multipliers @ (self.means / self.variances) / precision, 1 / precision])

    def moments(self, response: Vector) -> tuple[Vector, Vector]:
        mean, variance = response
        kl = 0.5 * (variance / self.variances + (mean - self.means) ** 2 / self.variances - 1 - np.log(variance / self.variances))
        return np.concatenate([[np.nan], kl]), np.diag([0.0, *np.full(len(kl), 0.25)])


@dataclass(frozen=True)
class Mixture:
    """OR of disjoint uniform components on `sizes` points: losses are cross-entropies; a response is the mixture's weights."""

    problem: ConstrainedProblem
    solution: Vector
    sizes: Vector
    joint: bool = False

    def respond(self, multipliers: Vector) -> Vector:
        return multipliers.copy()

    def moments(self, response: Vector) -> tuple[Vector, Vector]:
        losses = np.log(self.sizes) - np.log(np.maximum(response, 1e-300))
        return np.concatenate([[np.nan], losses]), np.eye(1 + len(losses))


UNEQUAL = Product(minimax(2), np.array([0.198, 0.802]), np.array([-1.0, 1.0]), np.array([0.025, 0.5]))
EQUAL = Product(minimax(2), np.array([0.5, 0.5]), np.array([-1.0, 1.0]), np.array([0.5, 0.5]))
OR = Mixture(minimax(3), np.array([2.0, 3.0, 5.0]) / 10, np.array([2.0, 3.0, 5.0]))


def settled(size: int):
    """A state at the end of a run in which nothing moved."""
    return unmoved(Controller(minimax(size), Dual(rule="simplex"), 100), size)


def unmoved(controller: Controller, size: int):
    state = replace(controller.first(), version=60)
    for step in range(60, 100):
        one = np.ones(1 + size)
        state = controller.advance(state, [SlackReport(step, 0, 10 * one, 5 * one, 3 * one)], 1)
    return state


@pytest.mark.parametrize("rule, step", [("simplex", 0.03), ("mirror", 0.15)])
@pytest.mark.parametrize("oracle", [UNEQUAL, EQUAL, OR], ids=["unequal", "equal", "or"])
def test_the_known_weights(rule, step, oracle):
    if oracle is OR:
        step = {"simplex": 0.05, "mirror": 0.5}[rule]
    start = np.full(len(oracle.solution), 0.0)
    start[0] = 0.7
    start[1:] = 0.3 / len(start[1:])
    last = play(oracle, Dual(rule=rule, step_size=step), 400, start=start)[-1]
    np.testing.assert_allclose(last.multipliers, oracle.solution, atol=2e-4)
    values = oracle.problem.values(last.means)
    assert np.ptp(values) < 1e-2 * values.max()  # all that have weight end level


def test_the_and_of_the_worked_case():
    last = play(UNEQUAL, Dual(rule="mirror", step_size=0.15), 400)[-1]
    np.testing.assert_allclose(UNEQUAL.respond(last.multipliers), [-0.66317, 0.105], atol=2e-4)
    assert UNEQUAL.problem.objective(last.means) == pytest.approx(3.1515, abs=1e-3)


def test_the_or_has_the_largest_entropy_by_brute_force():
    grid = np.array([(i, j, 200 - i - j) for i in range(1, 199) for j in range(1, 200 - i)]) / 200
    entropy = -(grid * np.log(grid / OR.sizes)).sum(1)
    np.testing.assert_allclose(grid[entropy.argmax()], OR.solution, atol=0.005)


@pytest.mark.parametrize("rule, step", [("simplex", 0.02), ("mirror", 0.2)])
def test_with_sampling_noise_the_weights_stay_about_the_known_ones(rule, step, sampled):
    states = play(OR, Dual(rule=rule, step_size=step), 400, samples=256, seed=sampled.seed)
    sampled.near("mean weights", np.mean([state.multipliers for state in states[200:]], 0), OR.solution, abs=0.02)


def test_start_is_uniform_and_every_step_stays_on_the_simplex():
    states = play(OR, Dual(rule="simplex", step_size=3.0), 20, samples=16)
    np.testing.assert_allclose(states[0].multipliers, 1 / 3)
    for state in states:
        assert state.multipliers.sum() == pytest.approx(1.0, abs=1e-12) and (state.multipliers >= 0).all()
        assert Controller(OR.problem, Dual(rule="simplex"), 20).infeasible(state) is None


def test_a_weight_that_fell_to_zero_returns_under_mirror():
    move = mirror(np.array([1.0, 0.0]), np.zeros(2), np.array([40.0, 0.0]), 1.0, Gains(1.0))
    assert move.multipliers[1] > 0.9


def test_mirror_is_its_formula():
    weights, slacks = np.array([0.5, 0.3, 0.2]), np.array([0.0, 0.4, 1.0])
    expected = weights * np.exp(-0.7 * slacks)
    move = mirror(weights, np.zeros(3), slacks, 0.5, Gains(1.4))
    np.testing.assert_allclose(move.multipliers, expected / expected.sum(), rtol=1e-12)


def test_a_missing_value_leaves_all_weights():
    controller = Controller(minimax(2), Dual(rule="mirror"), 10)
    one = np.ones(3)
    state = controller.advance(controller.first(), [SlackReport(0, 0, 10 * one, np.array([0.0, np.nan, 9.0]), one)], 1)
    np.testing.assert_array_equal(state.multipliers, [0.5, 0.5])
    assert state.skipped_in_a_row == 1
