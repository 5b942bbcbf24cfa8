"""A front over one budget from Optuna alone; `train` stands for a constrained training of your own."""

import optuna
from optuna.samplers import TPESampler

from dualsweep.analysis.trials import Budget
from dualsweep.sweeps.dual_informed.outcome import Outcome, report
from dualsweep.sweeps.dual_informed.sampler import STOPPED, DualInformedSampler


def train(at_most: float, step_size: float) -> Outcome:
    """Minimises x² subject to 1 - x ≤ at_most: x = 1 - at_most, with multiplier 2 x."""
    assert step_size > 0  # it would matter to a real training
    x = 1 - at_most
    return Outcome(objective=x**2, values={"distance": 1 - x}, multipliers={"distance": 2 * x})


def objective(trial: optuna.Trial) -> float:
    outcome = train(trial.suggest_float("budget", 0.0, 0.8), trial.suggest_float("step_size", 1e-3, 1e-1, log=True))
    report(trial, outcome)
    return outcome.objective


def main(storage: str | None = None) -> tuple[int, str, float]:
    budgets = [Budget("budget", ("distance",), "at_most", 0.0, 0.8)]
    sampler = DualInformedSampler(budgets, beside=TPESampler(seed=0), tolerance=0.05, seed=0)
    study = optuna.create_study(storage=storage, study_name="front", load_if_exists=True, sampler=sampler)
    study.optimize(objective, n_trials=30)
    front = sampler.front(study, [{"budget": 0.3}])
    print(f"{front.lower[0]:.3f} <= {front.objective[0]:.3f} <= {front.upper[0]:.3f}, price {front.prices['budget'][0]:.2f}")
    return len(study.trials), study.user_attrs[STOPPED], float(front.objective[0])


if __name__ == "__main__":
    print(main())
