"""The band contains the true front: at every grid point where trials are exact, at 94 % and more where they are measured."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.stats import qmc

from dualsweep.analysis.certified.band import band
from dualsweep.analysis.certified.hull import lower_hull
from dualsweep.analysis.certified.observations import Observations, Vector
from tests.analysis.certified.problems import Problem, problem

EXACT = 1e-9


def trials_of(case: Problem, count: int, noise: float, seed: int) -> Observations:
    """The base model, the tightest corner, and a Sobol sequence."""
    units = qmc.Sobol(case.size, seed=seed).random_base2(6)[:count]
    units[0] = 0.0
    found = case.observe(case.tight + (case.loose - case.tight) * units, noise, np.random.default_rng(seed))
    return case.base().joined(found)


def thinned(case: Problem) -> Vector:
    return case.grid()[:: max(1, len(case.grid()) // 300)]


@pytest.mark.parametrize("name", ["A1", "A2", "A3", "B3", "C1", "C2"])
@pytest.mark.parametrize("count", [1, 3, 10])
def test_exact_trials_certify_the_whole_front(name: str, count: int) -> None:
    case = problem(name)
    at = thinned(case)
    truth = case.solve(at)[0]
    bounds = band(trials_of(case, count, 0.0, count), at, 2.0)
    assert (bounds.lower <= truth + EXACT).all() and (truth <= bounds.upper + EXACT).all()
    assert np.isfinite(bounds.gap).all()
    assert bounds.floor == pytest.approx(0, abs=1e-7)


def test_the_band_closes_where_a_trial_was() -> None:
    case = problem("B3")
    trials = trials_of(case, 6, 0.0, 0)
    found = band(trials, trials.attained, 2.0)
    assert found.gap == pytest.approx(0, abs=1e-8)


@pytest.mark.parametrize("noise", [0.02, 0.05])
@pytest.mark.parametrize("name", ["A1", "A3", "B3", "C2"])
def test_noisy_trials_cover_94_percent(name: str, noise: float) -> None:
    case = problem(name)
    at = thinned(case)
    truth = case.solve(at)[0]
    inside = []
    for seed in range(6):
        bounds = band(trials_of(case, 12, noise, seed), at, 2.0)
        closed = np.isfinite(bounds.upper)
        assert closed.mean() > 0.6  # landing off the tightest corner leaves a rim open
        inside.append(((bounds.lower <= truth) & (truth <= bounds.upper))[closed].mean())
    assert np.mean(inside) >= 0.94


def test_without_a_margin_noise_breaks_the_band() -> None:
    """So the margin is what the coverage above rests on."""
    case = problem("A1")
    truth = case.solve(case.grid())[0]
    found = band(trials_of(case, 12, 0.05, 0), case.grid(), 0.0)
    assert ((found.lower <= truth) & (truth <= found.upper)).mean() < 0.9


def test_planes_of_trainings_that_stopped_early_are_repaired() -> None:
    case = problem("A1")
    trials = trials_of(case, 8, 0.0, 1)
    wrong = trials.multipliers.copy()
    middle = int(np.argsort(trials.prices[:, 0])[len(trials) // 2])
    wrong[middle] *= 1.4  # as if the dual ascent had not settled: the model is no minimiser at these multipliers
    spoilt = replace(trials, multipliers=wrong)
    raw = trials.objective[middle] + (trials.values[middle] * wrong[middle]).sum() - case.grid() @ wrong[middle]
    truth = case.solve(case.grid())[0]
    repaired = band(spoilt, case.grid(), 0.0).lower
    assert spoilt.excess[middle] > 0.01
    assert np.delete(spoilt.excess, middle) == pytest.approx(0, abs=1e-9)
    assert (repaired - truth).max() < 0.25 * (raw - truth).max()


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("equality", [False, True])
def test_the_hull_is_the_best_mixture(size: int, equality: bool) -> None:
    """Against a linear program over the mixture's weights, some budgets outside of what any mixture attains."""
    rng = np.random.default_rng(size)
    points, heights, at = rng.normal(size=(14, size)), rng.normal(size=14), rng.normal(size=(25, size))
    signed = np.zeros(size, dtype=np.bool_)
    signed[0] = equality
    solved: list[float] = []
    for budget in at:
        program = linprog(
            heights, A_ub=points[:, ~signed].T, b_ub=budget[~signed], bounds=(0, 1),
            A_eq=np.vstack([np.ones(14), points[:, signed].T]), b_eq=np.concatenate([[1.0], budget[signed]]),
        )  # fmt: skip
        solved.append(program.fun if program.status == 0 and program.fun is not None else np.inf)
    wanted = np.array(solved)
    hull = lower_hull(at, points, heights, signed)
    assert (np.isinf(hull) == np.isinf(wanted)).all()
    assert hull[np.isfinite(wanted)] == pytest.approx(wanted[np.isfinite(wanted)], abs=1e-6)
    assert size == 5 or 0 < np.isfinite(wanted).sum() < 25


def test_the_hull_of_one_point_is_what_is_looser() -> None:
    at = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 1.0], [2.0, 0.5]])
    found = lower_hull(at, np.array([[1.0, 1.0]]), np.array([3.0]), np.zeros(2, dtype=np.bool_))
    assert found.tolist() == [np.inf, 3.0, 3.0, np.inf]


def test_a_budget_that_several_constraints_share() -> None:
    """Tied budgets of A3: the price is the sum of the multipliers, and the planes keep every constraint's own value."""
    case = problem("A3")
    tied = np.linspace(-2, 0, 41)[:, None]
    truth = case.solve(np.repeat(tied, 3, axis=1))[0]
    found = case.observe(np.repeat(tied[[0, 13, 30]], 3, axis=1), 0.0, np.random.default_rng(0))
    trials = replace(found, asked=tied[[0, 13, 30]], shared=np.zeros(3, dtype=np.intp), signed=np.zeros(1, dtype=np.bool_))
    step = 1e-5
    slope = (case.solve(np.full((1, 3), tied[13, 0] + step))[0] - case.solve(np.full((1, 3), tied[13, 0] - step))[0]) / (2 * step)
    assert -trials.prices[1, 0] == pytest.approx(slope[0], abs=1e-6)
    assert trials.landed[1, 0] == pytest.approx(tied[13, 0])
    sides = band(trials, tied, 2.0)
    assert (sides.lower <= truth + EXACT).all() and (truth <= sides.upper + EXACT).all()
    assert sides.gap[[0, 13, 30]] == pytest.approx(0, abs=1e-8)


def test_budgets_relative_to_the_objective() -> None:
    """g - f <= b over A1's front: f = mu^2 / 2 at g = -mu, so b = -mu - mu^2 / 2, and the price is mu / (1 + mu)."""
    prices = np.linspace(0, 2, 60)
    truth, budgets = prices**2 / 2, -prices - prices**2 / 2
    some = np.array([59, 40, 10])
    trials = exact(budgets[some], truth[some], (prices / (1 + prices))[some], signed=False)
    sides = band(trials, budgets[:, None], 2.0, ideal=0.0)
    assert (sides.lower <= truth + EXACT).all() and (truth <= sides.upper + EXACT).all()
    assert sides.gap[some] == pytest.approx(0, abs=1e-9)
    assert np.median(sides.gap) < 0.2


def test_equalities_have_prices_of_either_sign() -> None:
    at = np.linspace(-1, 2, 31)
    trials = exact(np.array([-1.0, 0.5, 2.0]), np.array([0.5, 0.125, 2.0]), np.array([1.0, -0.5, -2.0]), signed=True)
    sides = band(trials, at[:, None], 2.0)
    assert (sides.lower <= at**2 / 2 + EXACT).all() and (at**2 / 2 <= sides.upper + EXACT).all()
    assert sides.upper[-1] == pytest.approx(2.0)  # a looser number is not a weaker demand


def exact(budgets: Vector, objective: Vector, prices: Vector, *, signed: bool) -> Observations:
    """Exact trials with one budget."""
    column, nothing = budgets[:, None], np.zeros((len(budgets), 1))
    return Observations(
        column, objective, column, prices[:, None], nothing[:, 0], nothing, nothing,
        np.zeros(1, dtype=np.intp), np.array([signed]),
    )  # fmt: skip
