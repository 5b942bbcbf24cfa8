"""Our rules against Cooper's optimisers, step for step, on a small convex problem.

Cooper's violations are positive where a constraint is violated: violation = -slack. min |x - a|^2 / 2 subject to x_1 <= 1,
x_2 >= 1 and x_1 + x_3 = 1, with plain gradient descent on x in both.
"""

from __future__ import annotations

from typing import Any

import cooper
import numpy as np
import pytest
import torch

from dualsweep.trainer.dual.memory import blank
from dualsweep.trainer.dual.problem import ConstrainedProblem
from dualsweep.trainer.dual.registry import RULES
from dualsweep.trainer.dual.rule import Gains
from dualsweep.trainer.dual.rules.augmented_lagrangian import ahead

TARGET = torch.tensor([2.0, 0.5, -1.0], dtype=torch.float64)
RATE, STEPS = 0.1, 60
KINDS: tuple[Any, ...] = ("at_most", "at_least", "equals")
#: g_i = ROWS[i] . x
ROWS = np.array([[1.0, 0, 0], [0, 1, 0], [1, 0, 1]])
PROBLEM = ConstrainedProblem(("upper", "lower", "equal"), np.ones(3), np.zeros(3, bool), KINDS)


class Convex(cooper.ConstrainedMinimizationProblem):  # type: ignore[misc]  # mypy does not follow cooper
    """The same problem in Cooper's words; `penalty` is the augmented Lagrangian's rho."""

    def __init__(self, penalty: float | None) -> None:
        super().__init__()
        self.x = torch.nn.Parameter(torch.zeros(3, dtype=torch.float64))
        formulation = cooper.formulations.AugmentedLagrangian if penalty else cooper.formulations.Lagrangian
        for name, kind in zip(PROBLEM.names, KINDS, strict=True):
            word = cooper.ConstraintType.EQUALITY if kind == "equals" else cooper.ConstraintType.INEQUALITY
            multiplier = cooper.multipliers.DenseMultiplier(num_constraints=1, dtype=torch.float64)
            given: Any = {}
            if penalty:
                value = torch.tensor([penalty], dtype=torch.float64)
                given["penalty_coefficient"] = cooper.penalty_coefficients.DensePenaltyCoefficient(init=value)
            setattr(self, name, cooper.Constraint(word, formulation, multiplier=multiplier, **given))

    def compute_cmp_state(self) -> cooper.CMPState:
        violations = (self.x[0] - 1, 1 - self.x[1], self.x[0] + self.x[2] - 1)
        observed = {
            getattr(self, name): cooper.ConstraintState(violation=each)
            for name, each in zip(PROBLEM.names, violations, strict=True)
        }
        return cooper.CMPState(loss=0.5 * ((self.x - TARGET) ** 2).sum(), observed_constraints=observed)


def coopers(scheme: Any, dual: Any, penalty: float | None = None) -> np.ndarray:
    """Cooper's multipliers after each step [STEPS, 3]."""
    problem = Convex(penalty)
    primal = torch.optim.SGD([problem.x], lr=RATE)
    optimizer = scheme(problem, primal_optimizers=primal, dual_optimizers=dual(problem.dual_parameters()))
    history = []
    for _ in range(STEPS):
        optimizer.roll()
        history.append([float(multiplier().detach().item()) for multiplier in problem.multipliers()])
    return np.array(history)


def ours(rule: str, gains: Gains, *, alternating: bool = False, memory: np.ndarray | None = None) -> np.ndarray:
    """Our multipliers after each step; alternating measures the slacks after the primal step, else before it."""
    x, multipliers = np.zeros(3), np.zeros(3)
    memory = blank(rule, 3) if memory is None else memory
    augmented, history = rule == "augmented_lagrangian", []

    def slacks(x: np.ndarray) -> np.ndarray:
        return PROBLEM.slacks(np.concatenate([[0.0], ROWS @ x]))

    for _ in range(STEPS):
        applied = PROBLEM.project(ahead(multipliers, slacks(x), 1.0, gains), np.inf) if augmented else multipliers
        before = slacks(x)
        x = x - RATE * (x - TARGET.numpy() + PROBLEM.coefficients(applied)[1:] @ ROWS)
        move = RULES[rule].move(multipliers, memory, slacks(x) if alternating else before, 1.0, gains)
        multipliers, memory = PROBLEM.project(move.multipliers, np.inf), move.memory
        history.append(multipliers)
    return np.array(history)


SIMULTANEOUS = cooper.optim.SimultaneousOptimizer
ALTERNATING = cooper.optim.AlternatingPrimalDualOptimizer


@pytest.mark.parametrize("alternating", [False, True])
def test_ascent(alternating):
    theirs = coopers(ALTERNATING if alternating else SIMULTANEOUS, lambda p: torch.optim.SGD(p, lr=0.2, maximize=True))
    np.testing.assert_allclose(ours("ascent", Gains(0.2), alternating=alternating), theirs, atol=1e-12)
    assert (theirs[-1, :2] > 0.1).all() and theirs[-1, 2] < -0.1  # every kind is at work, the equality with a negative price


@pytest.mark.parametrize("kappa_p, nu", [(0.5, 0.0), (0.5, 0.8), (2.0, 0.5)])
def test_nu_pi(kappa_p, nu):
    """Their default start, xi_{-1} = e_0, and ours, xi_{-1} = 0, differ in the first step; with `ZEROS` they are one."""
    zeros = cooper.optim.nuPIInitType.ZEROS

    def dual(parameters):
        return cooper.optim.nuPI(parameters, lr=1.0, Kp=kappa_p, Ki=0.1, ema_nu=nu, init_type=zeros, maximize=True)

    np.testing.assert_allclose(
        ours("nu_pi", Gains(0.1, own={"kappa_p": kappa_p, "nu": nu})), coopers(SIMULTANEOUS, dual), atol=1e-6
    )


@pytest.mark.parametrize("rho", [0.5, 3.0])
@pytest.mark.parametrize("alternating", [False, True])
def test_augmented_lagrangian(rho, alternating):
    theirs = coopers(
        ALTERNATING if alternating else SIMULTANEOUS, lambda p: torch.optim.SGD(p, lr=rho, maximize=True), penalty=rho
    )
    np.testing.assert_allclose(ours("augmented_lagrangian", Gains(rho), alternating=alternating), theirs, atol=1e-12)
