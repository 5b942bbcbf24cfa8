"""Constrained problems whose front is known everywhere: f, g and multipliers at any budgets, by formula or by quadrature.

| name | problem |
|---|---|
| A1, A2, A3 | a Gaussian tilted by 1, 2, 3 correlated linear rewards: f = 1/2 lambda' G lambda, g = -G lambda |
| B3 | three classes of weight 0.01, the rest 0.97: f = KL(q || p), g_i = -log w_i, b_i in [-log .25, -log .01] |
| C1, C2 | a tilted mixture of three Gaussians on a grid, rewards tanh x (and -x^2/4); f = KL(p || base), g = -E r |

The base model is the loosest corner of every box: lambda = 0, f = 0.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from dualsweep.analysis.certified.observations import Observations, Vector

Answer = tuple[Vector, Vector, Vector]
GAMMA = np.array([[1.0, -0.4, 0.2], [-0.4, 1.0, 0.3], [0.2, 0.3, 0.8]])


@dataclass(frozen=True)
class Problem:
    """`solve` gives f [N], g [N, m] and multipliers [N, m] at budgets [N, m]; the box runs from `tight` to `loose` [m]."""

    name: str
    tight: Vector
    loose: Vector
    solve: Callable[[Vector], Answer]

    @property
    def size(self) -> int:
        return len(self.tight)

    def grid(self) -> Vector:
        """A dense grid [N, m] over the box, its faces included."""
        points = {1: 201, 2: 41, 3: 15}[self.size]
        axes = [np.linspace(low, high, points) for low, high in zip(self.tight, self.loose, strict=True)]
        return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, self.size)

    def base(self) -> Observations:
        """The base model as a free trial."""
        return self.observe(self.loose[None], 0.0, np.random.default_rng(0))

    def observe(self, budgets: Vector, noise: float, rng: np.random.Generator) -> Observations:
        """Trials at budgets [n, m]; with `noise` they land off budget, and are measured with relative errors.

        Landing: `noise` of the box's range. f and lambda: relative `noise`. g: the same, at most half of `noise` of the range.
        """
        span = self.loose - self.tight
        landed = budgets + noise * span * rng.standard_normal(budgets.shape)
        objective, values, multipliers = self.solve(landed)
        errors = noise * np.abs(objective), np.minimum(noise * np.abs(values), 0.5 * noise * span), noise * np.abs(multipliers)
        return Observations(
            budgets,
            objective + errors[0] * rng.standard_normal(objective.shape),
            values + errors[1] * rng.standard_normal(values.shape),
            multipliers + errors[2] * rng.standard_normal(multipliers.shape),
            *errors,
            np.arange(self.size),
            np.zeros(self.size, dtype=np.bool_),
        )


def problem(name: str) -> Problem:
    """The problem of that name."""
    size = int(name[1])
    if name[0] == "A":
        return Problem(name, np.full(size, -2.0), np.zeros(size), tilted_gaussian)
    if name == "B3":
        return Problem(name, np.full(3, -np.log(0.25)), np.full(3, -np.log(0.01)), minority_classes)
    reached = np.array([0.9] if size == 1 else [0.75, -0.35])
    base = _density() @ _rewards(size)
    return Problem(name, -reached, -base, tilted_mixture)


def _subsets(size: int) -> Iterator[list[int]]:
    for count in range(size + 1):
        yield from map(list, itertools.combinations(range(size), count))


def tilted_gaussian(budgets: Vector) -> Answer:
    """lambda = argmin over lambda >= 0 of 1/2 lambda' G lambda - lambda . c with c = -b, by its active set."""
    size = budgets.shape[1]
    gamma, asked = GAMMA[:size, :size], -budgets
    multipliers = np.full(budgets.shape, np.nan)
    for active in _subsets(size):
        trial = np.zeros_like(budgets)
        if active:
            trial[:, active] = np.linalg.solve(gamma[np.ix_(active, active)], asked[:, active].T).T
        solved = (trial >= -1e-12).all(axis=1) & (trial @ gamma >= asked - 1e-9).all(axis=1)
        multipliers[solved] = trial[solved]
    assert np.isfinite(multipliers).all()
    return 0.5 * np.einsum("ni,ij,nj->n", multipliers, gamma, multipliers), -multipliers @ gamma, multipliers


def minority_classes(budgets: Vector) -> Answer:
    """docs/method.md: w_i = e^-b_i of the active classes, the others in proportion; lambda_i = (1 + L) w_i - pi_i."""
    weights, rest = np.full(3, 0.01), 0.97
    values, multipliers = np.full(budgets.shape, np.nan), np.full(budgets.shape, np.nan)
    for active in _subsets(3):
        others = [i for i in range(3) if i not in active]
        raised = np.exp(-budgets[:, active])
        total = (rest + weights[others].sum()) / (1.0 - raised.sum(axis=1))  # 1 + L
        shares = np.empty_like(budgets)
        shares[:, active], shares[:, others] = raised, weights[others] / total[:, None]
        prices = np.zeros_like(budgets)
        prices[:, active] = total[:, None] * raised - weights[active]
        solved = (total > 0) & (prices >= -1e-12).all(axis=1) & (-np.log(shares) <= budgets + 1e-9).all(axis=1)
        values[solved], multipliers[solved] = -np.log(shares[solved]), prices[solved]
    assert np.isfinite(values).all()
    left = 1.0 - np.exp(-values).sum(axis=1)
    return (weights * (np.log(weights) + values)).sum(axis=1) + rest * np.log(rest / left), values, multipliers


_X = np.linspace(-7.0, 8.0, 901)


def _density() -> Vector:
    parts = ((-1.5, 0.7, 0.5), (0.5, 0.6, 0.35), (2.5, 0.8, 0.15))
    total = np.sum([w * np.exp(-0.5 * ((_X - mean) / sd) ** 2) / sd for mean, sd, w in parts], axis=0)
    return np.asarray(total / total.sum())


def _rewards(size: int) -> Vector:
    return np.stack([np.tanh(_X), -(_X**2) / 4], axis=1)[:, :size]


def tilted_mixture(budgets: Vector) -> Answer:
    """p ~ base exp(lambda . r) with E r >= -b: Newton on the moments of every active set, kept where the others hold."""
    size = budgets.shape[1]
    rewards, multipliers = _rewards(size), np.full(budgets.shape, np.nan)
    for active in _subsets(size):
        trial = np.zeros_like(budgets)
        trial[:, active] = _matched(rewards[:, active], -budgets[:, active])
        with np.errstate(invalid="ignore"):
            moments = _tilt(rewards, np.nan_to_num(trial))[0] @ rewards
            solved = (trial >= -1e-10).all(axis=1) & (moments >= -budgets - 1e-8).all(axis=1)
        multipliers[solved] = trial[solved]
    assert np.isfinite(multipliers).all()
    densities, log_normaliser = _tilt(rewards, multipliers)
    values = -densities @ rewards
    return -(multipliers * values).sum(axis=1) - log_normaliser, values, multipliers


def _tilt(rewards: Vector, multipliers: Vector) -> tuple[Vector, Vector]:
    exponent = multipliers @ rewards.T
    top = exponent.max(axis=1, keepdims=True)
    weighted = _density() * np.exp(exponent - top)
    total = weighted.sum(axis=1, keepdims=True)
    return np.asarray(weighted / total), (np.log(total) + top)[:, 0]


def _matched(rewards: Vector, moments: Vector) -> Vector:
    """The tilts [N, k] that have these moments [N, k]; NaN where Newton finds none."""
    tilts = np.zeros_like(moments)
    products = (rewards[:, :, None] * rewards[:, None, :]).reshape(len(rewards), -1)
    for _ in range(25 if moments.shape[1] else 0):
        densities, _ = _tilt(rewards, tilts)
        means = densities @ rewards
        second = (densities @ products).reshape(len(means), *2 * rewards.shape[1:])
        covariance = second - means[:, :, None] * means[:, None, :] + 1e-12 * np.eye(rewards.shape[1])
        step = np.linalg.solve(covariance, (moments - means)[:, :, None])[:, :, 0]
        tilts = np.clip(tilts + np.clip(step, -1.0, 1.0), -50.0, 50.0)
    missed = np.abs(_tilt(rewards, tilts)[0] @ rewards - moments).max(axis=1, initial=0.0) > 1e-9
    return np.where(missed[:, None], np.nan, tilts)
