"""Dual rules against updates written out by hand, and against known optima."""

import numpy as np
import pytest

from dualsweep.trainer.dual.gains import gain, gains_of
from dualsweep.trainer.dual.rule import Gains
from dualsweep.trainer.dual.rules.ascent import ascent
from dualsweep.trainer.dual.rules.fixed import fixed
from dualsweep.trainer.dual.rules.nu_pi import nu_pi
from dualsweep.trainer.recipe.dual import Dual


def test_ascent_moves_against_the_slack():
    move = ascent(np.array([0.5, 0.1]), np.zeros(2), np.array([-1.0, 2.0]), 1.0, Gains(step_size=0.1))
    np.testing.assert_allclose(move.multipliers, [0.6, -0.1])


def test_nu_pi_equals_its_recursion_written_out():
    gains = Gains(step_size=0.05, own={"kappa_p": 0.7, "nu": 0.8})
    slacks = np.random.default_rng(0).normal(size=(20, 3))
    multipliers, memory = np.full(3, 5.0), np.zeros(3)
    expected, smoothed = np.full(3, 5.0), None
    for slack in slacks:
        move = nu_pi(multipliers, memory, slack, 1.0, gains)
        multipliers, memory = move.multipliers, move.memory
        error = -slack
        new = (0.2 * error) if smoothed is None else 0.8 * smoothed + 0.2 * error
        expected = expected + 0.05 * error + 0.7 * (new if smoothed is None else new - smoothed)
        smoothed = new
        np.testing.assert_allclose(multipliers, expected, rtol=1e-13)


def test_nu_pi_without_proportional_gain_is_ascent():
    slack = np.array([0.3, -0.2])
    one = nu_pi(np.ones(2), np.zeros(2), slack, 1.0, Gains(step_size=0.1, own={"kappa_p": 0.0, "nu": 0.9}))
    other = ascent(np.ones(2), np.zeros(2), slack, 1.0, Gains(step_size=0.1))
    np.testing.assert_array_equal(one.multipliers, other.multipliers)


def test_fixed_never_moves():
    np.testing.assert_array_equal(fixed(np.ones(1), np.zeros(1), np.array([-9.0]), 1.0, Gains(0.1)).multipliers, [1.0])


@pytest.mark.parametrize("decay, middle, end", [("none", 1.0, 1.0), ("linear", 0.5, 0.0), ("cosine", 0.5, 0.0)])
def test_decay(decay, middle, end):
    dual = Dual(decay=decay)
    assert [gain(dual, step, 100) for step in (0, 50, 100)] == pytest.approx([1.0, middle, end])


def test_gain_warms_up_linearly():
    assert [gain(Dual(gain_warmup=4), step, 100) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]


@pytest.mark.parametrize("plain", [{"step_size": 0.4}, {"rule": "nu_pi", "step_size": 0.2, "kappa_p": 0.3, "nu": 0.5}])
def test_rules_find_the_multipliers_of_a_quadratic_problem(plain):
    """min |x - a|^2 / 2 subject to x_i <= b_i: lambda_i = max(0, a_i - b_i), by hand."""
    rule = Dual.model_validate(plain)
    target, budgets = np.array([2.0, 0.5, -1.0]), np.array([1.0, 1.0, -1.5])
    multipliers, memory = np.zeros(3), np.zeros(3)
    function = {"ascent": ascent, "nu_pi": nu_pi}[str(rule.rule)]
    for _ in range(400):
        x = target - multipliers
        move = function(multipliers, memory, budgets - x, 1.0, gains_of(rule, "abc", np.zeros(3)))
        multipliers, memory = np.maximum(move.multipliers, 0), move.memory
    np.testing.assert_allclose(multipliers, np.maximum(0, target - budgets), atol=1e-9)
