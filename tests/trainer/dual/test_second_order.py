"""The parts of the second-order rules, each against brute force or its definition."""

from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize

from dualsweep.trainer.dual.damping import Damping
from dualsweep.trainer.dual.rule import Gains
from dualsweep.trainer.dual.rules.newton import newton
from dualsweep.trainer.dual.secant import damped_bfgs
from dualsweep.trainer.dual.second_order import Measured, completed, minimiser


def measured(slacks, curvature=None, **kwargs):
    size = len(slacks)
    given = {
        "errors": np.zeros(size), "usable": np.ones(size, bool), "softness": np.zeros(size), "lowest": np.zeros(size),
        "highest": np.full(size, 10.0), **kwargs,
    }  # fmt: skip
    return Measured(np.asarray(slacks, float), curvature=curvature, **given)


@pytest.mark.parametrize("seed", range(8))
def test_the_minimiser_in_a_box_by_brute_force(seed):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(2, 2))
    hessian, gradient = root @ root.T + 0.1 * np.eye(2), rng.normal(size=2)
    low, high = np.array([0.0, -0.4]), np.array([0.5, 0.3])
    grid = np.stack(np.meshgrid(*(np.linspace(a, b, 401) for a, b in zip(low, high, strict=True))), -1).reshape(-1, 2)
    values = grid @ gradient + 0.5 * ((grid @ hessian) * grid).sum(1)
    np.testing.assert_allclose(minimiser(hessian, gradient, low, high), grid[values.argmin()], atol=2e-3)


@pytest.mark.parametrize("seed", range(12))
def test_a_step_minimises_over_the_whole_domain_also_where_a_sum_is_limited(seed):
    """Against SLSQP: a step that ignored the limit and was projected afterwards would end elsewhere, where costs are coupled."""
    rng = np.random.default_rng(seed)
    root, gradient, start = rng.normal(size=(3, 3)), rng.normal(size=3) - 1.0, rng.uniform(0, 0.3, 3)
    hessian, relative = root @ root.T + 0.1 * np.eye(3), np.array([True, True, seed % 2 == 0])
    seen = measured(gradient, hessian, relative=relative, limit=0.95, highest=np.full(3, 0.6))
    moved = newton(start, np.zeros((4, 3)), seen, 1.0, Gains(0.1)).multipliers
    ridged = hessian + 1e-6 * np.diag(np.diag(hessian))

    def cost(x: Any) -> float:
        return float(gradient @ (x - start) + 0.5 * (x - start) @ ridged @ (x - start))

    room: Any = {"type": "ineq", "fun": lambda x: 0.95 - x[relative].sum()}
    options: Any = {"ftol": 1e-14, "maxiter": 500}
    wanted = minimize(cost, start, method="SLSQP", bounds=[(0.0, 0.6)] * 3, constraints=room, options=options)
    np.testing.assert_allclose(moved, wanted.x, atol=1e-5)
    assert moved[relative].sum() <= 0.95 + 1e-9


def test_a_step_is_held_by_the_trust_radius():
    move = newton(np.zeros(2), np.zeros((4, 2)), measured([-5.0, 0.3], np.eye(2)), 1.0, Gains(0.1, trust=0.5))
    np.testing.assert_allclose(move.multipliers, [0.5, 0.0])


def test_perfectly_correlated_constraints_share_their_step():
    move = newton(np.zeros(2), np.zeros((4, 2)), measured([-0.2, -0.2], np.ones((2, 2))), 1.0, Gains(0.1))
    np.testing.assert_allclose(move.multipliers, [0.1, 0.1], rtol=1e-4)


@pytest.mark.parametrize("bad", [np.nan, 0.0, -1.0])
def test_a_constraint_whose_curvature_is_no_good_takes_ascents_step_and_leaves_the_other_newtons(bad):
    curvature = np.array([[bad, np.nan], [np.nan, 2.0]])
    move = newton(np.zeros(2), np.zeros((4, 2)), measured([-0.3, -0.4], curvature), 1.0, Gains(0.1))
    np.testing.assert_allclose(move.multipliers, [0.03, 0.2], rtol=1e-5)


def test_an_unusable_slack_keeps_its_multiplier_and_couples_to_nothing():
    usable = np.array([False, True])
    seen = measured([0.0, -0.4], np.array([[1.0, 0.9], [0.9, 2.0]]), usable=usable)
    np.testing.assert_allclose(
        newton(np.full(2, 0.5), np.zeros((4, 2)), seen, 1.0, Gains(0.1)).multipliers, [0.5, 0.7], rtol=1e-5
    )


def test_softness_adds_to_the_diagonal():
    hessian = completed(np.eye(2), measured([0.0, 0.0], softness=np.array([0.0, 0.5])), Gains(0.1))
    np.testing.assert_allclose(hessian, np.diag([1.0, 1.5]), rtol=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_bfgs_keeps_the_secant_equation_or_stays_positive_definite(seed):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(3, 3))
    true, guess, moved = root @ root.T + np.eye(3), np.eye(3), rng.normal(size=3)
    np.testing.assert_allclose(damped_bfgs(guess, moved, true @ moved) @ moved, true @ moved)
    backwards = damped_bfgs(guess, moved, -true @ moved)
    assert np.linalg.eigvalsh(backwards)[0] > 0


def seen(residuals, error):
    damping = Damping.unpack(np.zeros((4, 1)))
    for residual in residuals:
        damping = damping.see(np.array([residual]), np.array([error]))
    return damping


def test_damping():
    assert seen([1.0, 0.5, 0.2], 0.01).weights[0] == 1.0  # progress
    assert seen([1.0, -0.3], 0.01).weights[0] == 1.0  # an overshoot that is progress
    assert seen([1.0, -0.9, 0.8], 0.01).weights[0] == 0.25  # two that are not
    assert seen([0.1, -0.1, 0.1, -0.1], 1.0).weights[0] == 0.25  # three changes of sign within the noise
    assert seen([1.0, -0.9, *[0.5] * 100], 0.01).weights[0] > 0.9  # one sign for long: the steps grow again
