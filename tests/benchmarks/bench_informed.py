"""Trials until the front is known to 1 % (mean error over the box, as a part of the front's range), by sampler.

    python -m tests.benchmarks.bench_informed [--problems A1,A3,B3,C2] [--noise 0.02] [--seeds 4] [--trials 20]

The problems are those of tests/analysis/certified/problems.py, whose fronts are known. `dual_informed` is the sampler as users
have it, in an Optuna study. The others place the same budgets; their trials' objectives are fitted by a Gaussian process on
values alone (scikit-learn: anisotropic Matern 5/2 or squared exponential, whichever is likelier, with fitted noise where
there is noise), since that is all they use. All have the base model for free. With `--noise` trials land off budget by that
part of the box and are measured with relative errors, known to `dual_informed` as standard errors.

Shown is the first number of trials from which the median error over seeds stays at 1 % or less, and which part of a dense
grid the band (z = 2) contained, over all trials and seeds; budgets tighter than anything attained, where the band is open,
are left out. Exits with 1 where `dual_informed` needs more trials than required, or covers less than 94 %.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import optuna
from optuna.distributions import FloatDistribution
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, QMCSampler, TPESampler
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Matern, WhiteKernel

from dualsweep.analysis.certified.observations import Observations, Vector
from dualsweep.analysis.trials import Budget
from dualsweep.sweeps.dual_informed.outcome import Outcome, report
from dualsweep.sweeps.dual_informed.sampler import DualInformedSampler
from tests.analysis.certified.problems import Problem, problem

REQUIRED = {0.0: {"A1": 3, "A3": 8, "B3": 5, "C2": 5}, 0.02: {"A1": 5, "A3": 12, "B3": 12, "C2": 12}}
WANTED, COVERED = 1.0, 0.94
OTHERS: dict[str, Callable[[int], BaseSampler]] = {
    "tpe": lambda seed: TPESampler(seed=seed),
    "nsga2": lambda seed: NSGAIISampler(seed=seed, population_size=8),
    "gp": lambda seed: GPSampler(seed=seed),
    "quasi_random": lambda seed: QMCSampler(seed=seed, scramble=True),
}


class Run:
    """One study of one problem: trials one by one, all of them minimising the objective and the budgets."""

    def __init__(self, case: Problem, sampler: BaseSampler, noise: float, seed: int) -> None:
        self.case, self.noise = case, noise
        self.rng = np.random.default_rng(seed)
        self.trials = case.base()
        self.space: dict[str, Any] = {
            f"b{i}": FloatDistribution(float(low), float(high))
            for i, (low, high) in enumerate(zip(case.tight, case.loose, strict=True))
        }
        self.study = optuna.create_study(directions=["minimize"] * (1 + case.size), sampler=sampler)

    def step(self) -> None:
        """One more trial."""
        trial = self.study.ask(self.space)
        budgets = np.array([[trial.params[name] for name in self.space]])
        observed = self.case.observe(budgets, self.noise, self.rng)
        report(trial, outcome_of(observed))
        self.study.tell(trial, [float(observed.objective[0]), *budgets[0].tolist()])
        self.trials = self.trials.joined(observed)


def outcome_of(found: Observations) -> Outcome:
    """The first trial as its user would report it."""
    rows = {
        name: {f"g{i}": float(number) for i, number in enumerate(getattr(found, name)[0])}
        for name in ("values", "multipliers", "value_errors", "multiplier_errors")
    }
    return Outcome(
        float(found.objective[0]), rows["values"], rows["multipliers"], float(found.objective_error[0]),
        rows["value_errors"], rows["multiplier_errors"],
    )  # fmt: skip


def informed(case: Problem, noise: float, seed: int, trials: int, at: Vector, truth: Vector) -> tuple[Vector, Vector]:
    """Mean error in percent after each trial [trials], and the share of the grid within the band [trials]."""
    budgets = [
        Budget(f"b{i}", (f"g{i}",), "at_most", float(low), float(high))
        for i, (low, high) in enumerate(zip(case.tight, case.loose, strict=True))
    ]
    sampler = DualInformedSampler(budgets, base=outcome_of(case.base()), tolerance=0.0, seed=seed)
    run = Run(case, sampler, noise, seed)
    grid = [dict(zip([budget.parameter for budget in budgets], map(float, each), strict=True)) for each in at]
    errors, covered = np.zeros(trials), np.zeros(trials)
    for k in range(trials):
        run.step()
        front = sampler.front(run.study, grid)
        tiny = 1e-9 * np.ptp(truth)
        errors[k] = 100 * np.abs(front.objective - truth).mean() / np.ptp(truth)
        closed = np.isfinite(front.upper)
        covered[k] = ((front.lower <= truth + tiny) & (truth <= front.upper + tiny))[closed].mean()
    return errors, covered


def by_values(case: Problem, sampler: BaseSampler, noise: float, seed: int, trials: int, at: Vector, truth: Vector) -> Vector:
    """Mean error in percent after each trial [trials] of a Gaussian process on the objectives alone."""
    run, errors = Run(case, sampler, noise, seed), np.zeros(trials)
    for k in range(trials):
        run.step()
        errors[k] = 100 * np.abs(value_fit(case, run.trials, noise, at, seed) - truth).mean() / np.ptp(truth)
    return errors


def value_fit(case: Problem, found: Observations, noise: float, at: Vector, seed: int) -> Vector:
    """The front by a Gaussian process of objective over budgets, at budgets [N, m]; never below 0, which is known of f."""
    span = case.loose - case.tight
    best: Any = None
    for shape in (RBF(np.full(case.size, 0.7), (0.05, 20.0)), Matern(np.full(case.size, 0.7), (0.05, 20.0), nu=2.5)):
        kernel = ConstantKernel(1.0, (0.01, 1e4)) * shape
        if noise:
            kernel = kernel + WhiteKernel(1e-3, (1e-7, 1.0))
        process: Any = GaussianProcessRegressor(kernel, alpha=1e-8, normalize_y=True, n_restarts_optimizer=1, random_state=seed)
        process.fit((found.asked - case.tight) / span, found.objective)
        if best is None or process.log_marginal_likelihood_value_ > best.log_marginal_likelihood_value_:
            best = process
    return np.asarray(np.maximum(best.predict((at - case.tight) / span), 0.0))


def needed(errors: Vector) -> int | None:
    """The first number of trials with a median error [seeds, trials] of at most what is wanted, from which on it stays there."""
    far = np.flatnonzero(np.median(errors, axis=0) > WANTED)
    first = int(far[-1]) + 2 if len(far) else 1
    return first if first <= errors.shape[1] else None


def grid_of(case: Problem) -> Vector:
    """About a thousand points of the dense grid, the corners among them."""
    grid = case.grid()
    return np.asarray(grid[np.unique(np.linspace(0, len(grid) - 1, 1125).astype(int))])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", default="A1,A3,B3,C2")
    parser.add_argument("--noise", type=float, default=0.0)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--samplers", default=",".join(["dual_informed", *OTHERS]))
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore")
    missed = 0
    required = REQUIRED.get(options.noise, {})
    print(
        f"noise {options.noise:g}, {options.seeds} seeds: trials to a mean error of {WANTED:g} % "
        "(median error after 3, 5, 8, 12, 20 trials)"
    )
    for name in options.problems.split(","):
        case = problem(name)
        at = grid_of(case)
        truth = case.solve(at)[0]
        for sampler in options.samplers.split(","):
            errors, covered = [], []
            for seed in range(options.seeds):
                if sampler == "dual_informed":
                    error, within = informed(case, options.noise, seed, options.trials, at, truth)
                    covered.append(within)
                else:
                    error = by_values(case, OTHERS[sampler](seed), options.noise, seed, options.trials, at, truth)
                errors.append(error)
            table = np.array(errors)
            trials, limit = needed(table), required.get(name)
            shown = " ".join(f"{np.median(table, axis=0)[k - 1]:6.2f}" for k in (3, 5, 8, 12, 20) if k <= options.trials)
            line = f"{name} {sampler:>14}: {trials if trials else f'> {options.trials}':>5}   ({shown})"
            if sampler == "dual_informed":
                share = float(np.mean(covered))
                short = share < COVERED or (limit is not None and (trials is None or trials > limit))
                missed += short
                line += (
                    f"   in the band {100 * share:.2f} %; required: {limit if limit else '-'}, 94 %{'  MISSED' if short else ''}"
                )
            print(line, flush=True)
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
