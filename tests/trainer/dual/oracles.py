"""Exact primal oracles: for each multiplier the best response in closed form, and what its samples would report.

`play` runs a controller against one: the response moves a share of the way to the best one at every dual step (1: exact), and
the reports come from its exact moments, or from samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from dualsweep.trainer.dual.controller import Controller
from dualsweep.trainer.dual.problem import ConstrainedProblem, Vector
from dualsweep.trainer.dual.state import DualState, SlackReport
from dualsweep.trainer.recipe.dual import Dual


class Oracle(Protocol):
    """A problem with its solution; a response is what of the primal matters, as a vector."""

    @property
    def problem(self) -> ConstrainedProblem: ...

    @property
    def solution(self) -> Vector: ...

    @property
    def joint(self) -> bool:
        """Whether all expectations are measured on the same samples."""
        ...

    def respond(self, multipliers: Vector) -> Vector: ...

    def moments(self, response: Vector) -> tuple[Vector, Vector]:
        """Mean [1 + m] and covariance [1 + m, 1 + m] of one sample of each expectation."""
        ...


@dataclass(frozen=True)
class Alignment:
    """KL(p || N(mean, covariance)) subject to bounds on E x: p* = N(mean + covariance u, covariance), u = -sign lambda."""

    problem: ConstrainedProblem
    solution: Vector
    mean: Vector
    covariance: Vector
    joint: bool = True

    def respond(self, multipliers: Vector) -> Vector:
        result: Vector = self.mean - self.covariance @ self.problem.coefficients(multipliers)[1:]
        return result

    def moments(self, response: Vector) -> tuple[Vector, Vector]:
        moved = response - self.mean
        objective = 0.5 * moved @ np.linalg.solve(self.covariance, moved)
        covariance = np.zeros((1 + len(moved), 1 + len(moved)))
        covariance[1:, 1:] = self.covariance
        return np.concatenate([[objective], response]), covariance


#: method.md's case, m = 2.
PLANE = np.array([[1.0, 0.3], [0.3, 0.5]])


def alignment(size: int = 2) -> Alignment:
    """E x >= c with m = 1, 2, 3; of three the last is inactive. m = 2 is the written-out case: (0.53659, 0.87805)."""
    covariance = np.eye(3)
    covariance[:2, :2] = PLANE
    covariance[2, 0] = covariance[0, 2] = 0.4
    covariance, budgets = covariance[:size, :size], np.array([0.8, 0.6, 0.1])[:size]
    active = min(size, 2)
    solution = np.zeros(size)
    solution[:active] = np.linalg.solve(covariance[:active, :active], budgets[:active])
    problem = ConstrainedProblem(("a", "b", "c")[:size], budgets, np.zeros(size, bool), tuple("at_least" for _ in range(size)))
    return Alignment(problem, solution, np.zeros(size), covariance)


@dataclass(frozen=True)
class Minority:
    """min KL(q || p) subject to KL(q_i || p) <= b_i for separated classes: p* = (q + sum lambda_i q_i) / (1 + sum lambda)."""

    problem: ConstrainedProblem
    solution: Vector
    shares: Vector
    classes: tuple[int, ...]
    joint: bool = False

    def respond(self, multipliers: Vector) -> Vector:
        weights = self.shares.copy()
        weights[list(self.classes)] += multipliers
        result: Vector = weights / weights.sum()
        return result

    def moments(self, response: Vector) -> tuple[Vector, Vector]:
        """Each loss has a standard deviation of one nat among samples."""
        objective = self.shares @ np.log(self.shares / response)
        return np.concatenate([[objective], -np.log(response[list(self.classes)])]), np.eye(1 + len(self.classes))


def minority(budgets: tuple[float, ...] = (2.5, 2.5, 2.5)) -> Minority:
    """method.md's counts, classes 4, 5, 7; with b = 2.5 the multipliers are (0.090729, 0.090729, 0.091493)."""
    counts = np.array([178, 182, 177, 183, 18, 18, 181, 17, 174, 180], float)
    shares, classes = counts / counts.sum(), (4, 5, 7)
    wanted = np.exp(-np.array(budgets))
    total = (1.0 - shares[list(classes)].sum()) / (1.0 - wanted.sum())
    problem = ConstrainedProblem(("four", "five", "seven"), np.array(budgets), np.zeros(3, bool))
    return Minority(problem, total * wanted - shares[list(classes)], shares, classes)


def reported(oracle: Oracle, response: Vector, step: int, samples: int | None, rng: np.random.Generator) -> SlackReport:
    """One worker's report: from `samples` draws, or from the exact moments as if from very many."""
    mean, covariance = oracle.moments(response)
    count = np.full(len(mean), float(samples or 10**14))
    if samples is None:
        total, products = count * mean, count[0] * (covariance + np.outer(mean, mean))
    else:
        draws = rng.multivariate_normal(mean, covariance, samples)
        total, products = draws.sum(0), draws.T @ draws
    return SlackReport(step, 0, count, total, np.diag(products).copy(), products if oracle.joint else None)


def play(
    oracle: Oracle,
    dual: Dual,
    steps: int,
    *,
    samples: int | None = None,
    follow: float = 1.0,
    seed: int = 0,
    start: Vector | None = None,
) -> list[DualState]:
    """The states from the first to that after `steps` dual steps."""
    controller = Controller(oracle.problem, dual, steps)
    state, rng = controller.first(), np.random.default_rng(seed)
    if start is not None:
        state = state.with_multipliers(start)
    response, states = oracle.respond(state.applied), [state]
    for step in range(steps):
        response = response + follow * (oracle.respond(state.applied) - response)
        state = controller.advance(state, [reported(oracle, response, step, samples, rng)], 1)
        states.append(state)
    return states
