"""The errors of multipliers and of prices, against their scatter about the price of problems that are known.

The claims are those of errors.py, by simulated dual ascent: a quadratic, noisy slacks, a primal that lags.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dualsweep.analysis.certified.observations import Observations
from dualsweep.analysis.prices.shadow import Pricing
from dualsweep.sweeps.records.replicates import Replicates
from dualsweep.trainer.recipe.dual import Dual
from dualsweep.trainer.result import ConstraintOutcome, Result
from tests.analysis.certified.problems import problem
from tests.analysis.prices.sweeps import record_of, spread, with_prices_off
from tests.benchmarks.coverage import Row
from tests.benchmarks.coverage.errors import Array, covering_row, z_row
from tests.trainer.dual.oracles import alignment
from tests.trainer.dual.test_settling import PRICE, ends, of_oracle, scatter
from tests.trainer.dual.test_simplex import OR, UNEQUAL


def rows(scale: float) -> Iterator[Row]:
    runs = max(20, int(1000 * scale))
    yield from _multipliers(runs)
    yield from _of_other_rules(runs)
    yield from _prices(runs)
    yield from _told(max(1, int(12 * scale)))


def _multipliers(runs: int) -> Iterator[Row]:
    """Of dual ascent on noisy slacks whose primal answers at once, or goes a fifth of the way in a dual step."""
    for rate in (10, 30, 100):
        for steps in (100, 300, 1000):
            for lag in (1.0, 0.2):
                if rate / steps > lag / 2:  # oscillates: relaxation times tell nothing
                    continue
                z, _ = scatter(steps, rate, lag, runs)
                yield z_row(f"multiplier, {steps} dual steps over {rate} relaxation times, lag {lag:g}", z)
    for short, least in ((4, 0.92), (1.5, 0.95)):
        for steps in (100, 300, 1000):
            z, errors = scatter(steps, short, 1.0, runs)
            covered, ratio = float((np.abs(z) <= 2).mean()), float(np.median(errors) / np.sqrt(((z * errors) ** 2).mean()))
            claim = f"multiplier, {steps} dual steps over {short} relaxation times, two errors"
            measured = f"{covered:.1%}, median error {ratio:.2f} of rms"
            yield Row(claim, f"cover ≥ {least:.0%}", measured, covered >= least)
    z, _ = scatter(300, 100, 0.2, runs)
    covered = float((np.abs(z) <= 2).mean())
    yield Row("multiplier that oscillates (300, 100, lag 0.2), two errors", "cover ≥ 93 %", f"{covered:.1%}", covered >= 0.93)
    for price in (0.0, 0.05):
        z, _ = scatter(300, 30, 1.0, runs, price=price)
        covered = float((np.abs(z[np.isfinite(z)]) <= 2).mean())
        yield Row(
            f"multiplier projected at times, price {price:g}, two errors", "cover ≥ 93 %", f"{covered:.1%}", covered >= 0.93
        )


def _of_other_rules(runs: int) -> Iterator[Row]:
    """Of rules that move constraints together, on problems whose answer is known; of each problem the multiplier farthest off."""
    cases = [
        ("augmented Lagrangian, alignment to two rewards", alignment(2), Dual(rule="augmented_lagrangian", step_size=0.15), 200),
        ("simplex, OR of three", OR, Dual(rule="simplex", step_size=0.05), 100),
        ("mirror, OR of three", OR, Dual(rule="mirror", step_size=0.3), 100),
        ("simplex, AND of two", UNEQUAL, Dual(rule="simplex", step_size=0.05), 100),
        ("mirror, AND of two", UNEQUAL, Dual(rule="mirror", step_size=0.1), 100),
        ("newton, alignment to two rewards", alignment(2), Dual(rule="newton"), 100),
    ]
    for name, oracle, dual, steps in cases:
        z = of_oracle(oracle, dual, steps, runs)
        row = int(np.argmax(np.abs(z.std(axis=0, ddof=1) - 1.0)))
        yield z_row(f"multiplier, {name}, {steps} dual steps", z[:, row])
    z = of_oracle(alignment(3), Dual(rule="newton"), 100, runs // 2, samples=32)
    covered = float((np.abs(z) <= 2).mean(axis=0).min())
    yield Row("multiplier, newton, with a reward of price 0, two errors", "cover ≥ 92 %", f"{covered:.1%}", covered >= 0.92)


def _prices(runs: int) -> Iterator[Row]:
    """The price of a budget as `Pricing` tells it of runs of dual ascent, and the mean of several trainings of a trial."""
    for steps, rate in ((100, 10), (300, 30), (300, 100)):
        multipliers, errors = ends(steps, rate, 3 * runs)
        for together in (1, 3):
            pairs = zip(_groups(multipliers, together)[:runs], _groups(errors, together)[:runs], strict=True)
            prices, told = np.array([_priced(one, its) for one, its in pairs]).T
            what = "price" if together == 1 else f"price of {together} constraints that share a budget"
            z = (prices - together * PRICE) / told
            claim = f"{what}, {steps} dual steps over {rate} relaxation times"
            if together == 1:
                yield z_row(claim, z)
            else:  # single errors scatter, and the root of the sum of their squares is above their typical size
                covered = float((np.abs(z) <= 2).mean())
                yield Row(f"{claim}, two errors", "cover ≥ 93 %", f"{covered:.1%}, sd of z {z.std(ddof=1):.2f}", covered >= 0.93)
    for count in (2, 3, 5):
        multipliers, errors = ends(100, 10, count * runs)
        inside = [_inside(m, e) for m, e in zip(_groups(multipliers, count), _groups(errors, count), strict=True)]
        yield covering_row(f"multiplier, mean of {count} trainings, t interval", float(np.mean(inside)))


def _told(sweeps: int) -> Iterator[Row]:
    """The share of 16 trials that are told to contradict the others' values, with all multipliers times a factor."""
    for noise, factor, least in ((0.0, 1.0, 0), (0.02, 1.0, 0), (0.0, 0.6, 60), (0.0, 1.4, 50), (0.02, 0.6, 30), (0.02, 1.4, 2)):
        shares = {}
        for name in ("A1", "A2", "A3", "B3", "C2"):
            case, told = problem(name), 0
            for seed in range(sweeps):
                trials = case.observe(spread(case, 16, seed), noise, np.random.default_rng(seed))
                prices = Pricing(record := record_of(with_prices_off(trials, factor))).of(record.trials)
                told += len(set(prices.unconverged) | set(prices.troubles))
            shares[name] = 100 * told / (16 * sweeps)
        claim = f"trials told, multipliers times {factor:g}, errors of {noise:.0%}"
        measured = ", ".join(f"{name} {share:.1f}" for name, share in shares.items()) + " %"
        if factor == 1:
            yield Row(claim, "≤ 1 %", measured, max(shares.values()) <= 1)
        else:
            yield Row(claim, f"A1, A2, C2 ≥ {least} %", measured, min(shares[name] for name in ("A1", "A2", "C2")) >= least)


def _groups(values: Array, size: int) -> Array:
    return values[: len(values) // size * size].reshape(-1, size)


def _priced(multipliers: Array, errors: Array) -> tuple[float, float]:
    """The price and its error of a trial whose constraints share a budget, beside one other trial."""
    size = len(multipliers)
    nothing = np.zeros((2, size))
    observations = Observations(
        np.array([[0.0], [1.0]]), np.array([0.0, -1.0]), np.array([[0.0] * size, [1.0] * size]), np.stack([multipliers] * 2),
        np.zeros(2), nothing, np.stack([errors] * 2), np.zeros(size, dtype=np.intp), np.zeros(size, dtype=np.bool_),
    )  # fmt: skip
    record = record_of(observations, params=["constraints.*.at_most"])
    (price,) = Pricing(record).of(record.trials[:1]).prices
    return price.price, price.error


def _inside(multipliers: Array, errors: Array) -> bool:
    """Whether the interval of the mean over trainings of a trial has the price."""
    runs = {}
    for seed, (multiplier, error) in enumerate(zip(multipliers.tolist(), errors.tolist(), strict=True)):
        outcome = ConstraintOutcome(0.0, 0.0, 0.0, 0.0, multiplier, multiplier_error=error)
        metrics = {"multiplier/a": multiplier}
        runs[seed] = Result("converged", "", 0.0, 0.0, {"a": outcome}, "met", 1, 0.0, None, metrics)
    both = Replicates(runs)
    return abs(both.result.constraints["a"].multiplier - PRICE) <= both.intervals["multiplier/a"]
