"""Trials of problems whose answer is known, as the review has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from scipy.stats import qmc

from dualsweep.analysis.certified.observations import Observations, Vector
from dualsweep.analysis.trials import ConstraintRecord, Direction, SweepRecord, Trial
from tests.analysis.certified.problems import Problem

Kind = Literal["at_most", "at_least", "equals"]


def record_of(
    found: Observations, kinds: Sequence[Kind] = (), *, maximizes: bool = False, params: Sequence[str] = ()
) -> SweepRecord:
    """A sweep of these trials, all feasible, with constraints called `a`, `b`, … of these kinds, at_most where none is given."""
    kinds = kinds or ("at_most",) * found.values.shape[1]
    objectives: dict[str, Direction] = {"objective": "maximize" if maximizes else "minimize"}
    objectives |= {
        f"value/{name}": "maximize" if kind == "at_least" else "minimize" for name, kind in zip("abc", kinds, strict=False)
    }
    trials = tuple(_trial(found, j, kinds, maximizes, params) for j in range(len(found)))
    return SweepRecord("1", "known", "f" * 32, objectives, None, trials, maximizes=maximizes)


def _trial(observations: Observations, j: int, kinds: Sequence[Kind], maximizes: bool, params: Sequence[str]) -> Trial:
    outcomes = []
    for k, (name, kind) in enumerate(zip("abc", kinds, strict=False)):
        sign = -1.0 if kind == "at_least" else 1.0
        value, budget = sign * float(observations.values[j, k]), sign * float(observations.asked[j, observations.shared[k]])
        price, error = float(observations.multipliers[j, k]), float(observations.multiplier_errors[j, k])
        slack, uncertain = sign * (budget - value), float(observations.value_errors[j, k])
        outcomes.append(ConstraintRecord(name, value, budget, slack, uncertain, price, kind == "equals", error, kind))
    metrics = {
        "objective": (-1 if maximizes else 1) * float(observations.objective[j]),
        "objective_error": float(observations.objective_error[j]),
    }
    metrics |= {f"value/{outcome.name}": outcome.value for outcome in outcomes}
    settings = dict.fromkeys(params, 0.0)
    return Trial(f"{j:04d}", f"{j:032x}", "converged", "", settings, metrics, tuple(outcomes), "met")


def with_prices_off(found: Observations, factor: float) -> Observations:
    """The same trials with other multipliers than their models minimise."""
    return replace(found, multipliers=found.multipliers * factor)


def spread(problem: Problem, count: int, seed: int = 0) -> Vector:
    """Budgets [count, m] over the box of a problem by a Sobol sequence; `count` is a power of 2."""
    units = qmc.Sobol(problem.size, seed=seed).random(count)
    budgets: Vector = problem.tight + (problem.loose - problem.tight) * units
    return budgets
