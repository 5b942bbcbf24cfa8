"""Simulated trainings whose ends are known: a slack that answers its multiplier late, under noise.

The primal wants g and is at x, one budget b, s = b - x:

    x' = (g(lambda) + c exp(-t / t0) - x) / lag,     g(lambda) = g0 - reach (1 - exp(-lambda / reach)),     lambda' = -eta s

in steps t, with a learning transient c and a reach beyond which no price gets (infinite: g0 - lambda). The objective is
(x - g0)^2 / 2, whose minimum under x <= b has the multiplier g0 - b, plus an inefficiency and a transient of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dualsweep.sweeps.early_stopping.watched import Bound, Watched
from dualsweep.trainer.result import ConstraintOutcome, Result

STEPS, EVERY = 600, 10
Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Many:
    """n trainings side by side, all of shape [n] or [points, n]."""

    slacks: Vector
    errors: Vector
    multipliers: Vector
    objectives: Vector
    objective: Vector
    slack: Vector
    budget: Vector

    def trial(self, i: int) -> Watched:
        """Training i, before its first point."""
        return Watched(f"{i:04d}", STEPS, (Bound("g", "at_most"),))

    def points(self, i: int) -> list[tuple[int, dict[str, float]]]:
        """What training i reports."""
        reports = []
        for k in range(len(self.slacks)):
            slack, budget = float(self.slacks[k, i]), float(self.budget[i])
            metrics = {"objective": float(self.objectives[k, i]), "value/g": budget - slack, "value/max": budget - slack}
            metrics |= {"slack/g": slack, "slack_error/g": float(self.errors[k, i]), "budget/g": budget}
            reports.append(((k + 1) * EVERY, metrics | {"multiplier/g": float(self.multipliers[k, i])}))
        return reports

    def result(self, i: int) -> Result:
        """How training i ends, evaluated without noise: its weights are the training weights, so averaging gains nothing."""
        slack, budget, trained = float(self.slack[i]), float(self.budget[i]), float(np.mean(self.slacks[-12:, i]))
        outcome = ConstraintOutcome(budget - slack, budget, trained, float(np.median(self.errors[-12:, i])), 1.0)
        feasible, objective = self.feasible(i), float(self.objective[i])
        return Result("converged", "", objective, 0.0, {"g": outcome}, "met" if feasible else "violated", STEPS, 1.0, None)

    def feasible(self, i: int) -> bool:
        """Whether training i ends feasible: its slack without noise, judged with the error that an evaluation has."""
        return bool(self.slack[i] >= -2 * np.median(self.errors[-12:, i]))


def simulate(n: int, seed: int, violation: tuple[float, float] = (0.02, 1.0), reach: float = 0.5, waste: float = 0.0) -> Many:
    """n trainings with dynamics at random: closing within 0.05 to 5 runs, lags up to a fifth of one, little noise and much.

    `violation` is the range of g0 - b; `reach` the part of the trainings whose price gets no farther than 0.3 to 3 times of it;
    `waste` the largest inefficiency.
    """
    rng = np.random.default_rng(seed)
    gap = np.exp(rng.uniform(np.log(violation[0]), np.log(violation[1]), n))
    eta = 1 / (STEPS * np.exp(rng.uniform(np.log(0.05), np.log(5), n)))
    rho = np.exp(-rng.uniform(0, np.log(0.2 * STEPS), n))
    transient, fading = rng.uniform(0, 1, n), rng.uniform(0.02, 0.3, n) * STEPS
    far = np.where(rng.random(n) < reach, gap * rng.uniform(0.3, 3, n), 1e9)
    noise, phi = gap * np.exp(rng.uniform(np.log(0.02), np.log(2), n)), rng.choice([0.0, 0.5, 0.9], n)
    wasted, objective_noise = rng.uniform(0, waste, n), 0.02 * np.exp(rng.normal(size=n))
    g0 = 1.0
    x, lam, drift = g0 + transient, np.zeros(n), np.zeros(n)
    points: list[tuple[Vector, ...]] = []
    seen: list[tuple[Vector, Vector]] = []
    for step in range(1, STEPS + 1):
        fade = transient * np.exp(-step / fading)
        x = x + rho * (g0 - far * -np.expm1(-lam / far) + fade - x)
        drift = phi * drift + np.sqrt(1 - phi**2) * rng.normal(size=n) * noise
        slack = g0 - gap - x + drift
        lam = np.maximum(0, lam - eta * slack)
        clean = (x - fade - g0) ** 2 / 2 + wasted + fade
        seen.append((slack, clean + objective_noise * rng.normal(size=n)))
        if step % EVERY == 0:
            slacks, objectives = np.array([each[0] for each in seen]), np.array([each[1] for each in seen])
            points.append((slacks.mean(0), slacks.std(0) / np.sqrt(EVERY - 1), lam, objectives.mean(0)))
            seen = []
    slacks, errors, multipliers, objectives = (np.array(each) for each in zip(*points, strict=True))
    return Many(slacks, errors, multipliers, objectives, clean, g0 - gap - x, g0 - gap)
