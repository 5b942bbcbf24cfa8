"""What the trials of a sweep attained, in one form: everything is minimised, and every constraint reads g <= b.

| user's                       | here             |
|------------------------------|------------------|
| objective, minimised         | f = objective    |
| objective, maximised         | f = -objective   |
| at_most b, equals b          | g = value        |
| at_least c                   | g = -value       |

Multipliers are the same in both: the Lagrangian is f + sum_k lambda_k g_k. A value relative to the objective is the difference
g - f already, and so is its price. A model attains what it attains whatever it was asked for, so infeasible trials count too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dualsweep.analysis.noise import known, multiplier_errors, standard_error
from dualsweep.analysis.trials import JUDGED_STATUSES, ConstraintRecord, SweepRecord, Trial
from dualsweep.trainer import metric_names
from dualsweep.trainer.result import UNTOLD

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Attained:
    """n trials and K constraints: `objective` [n], `values` and `multipliers` [n, K], their standard errors, `signed` [K].

    A constraint is signed where it is an equality, so that its multiplier may have either sign.
    """

    trials: tuple[Trial, ...]
    names: tuple[str, ...]
    objective: Vector
    values: Vector
    multipliers: Vector
    objective_error: Vector
    value_errors: Vector
    multiplier_errors: Vector
    signed: NDArray[np.bool_]

    @classmethod
    def of(cls, record: SweepRecord) -> Attained:
        """The ended trials with a finite objective, and finite values and multipliers of every constraint that has a budget."""
        priced = {o.name for trial in record.trials for o in trial.constraints if o.kind != "minimax"}
        names = tuple(sorted(priced))  # MLflow keeps no order of its own
        trials = tuple(trial for trial in record.trials if _usable(trial, names))
        rows = [[_outcome(trial, name) for name in names] for trial in trials]
        shape = len(trials), len(names)
        signs = np.array([[-1.0 if each.relation == "≥" else 1.0 for each in row] for row in rows]).reshape(shape)
        multipliers = np.array([[each.multiplier for each in row] for row in rows]).reshape(shape)
        measured = np.array([[each.multiplier_error for each in row] for row in rows]).reshape(shape)
        errors = [[known(standard_error(trial, metric_names.value(name))) for name in names] for trial in trials]
        return cls(
            trials,
            names,
            np.array([trial.metric("objective") for trial in trials]) * (-1.0 if record.maximizes else 1.0),
            signs * np.array([[each.value for each in row] for row in rows]).reshape(shape),
            multipliers,
            np.array([known(standard_error(trial, "objective")) for trial in trials]),
            np.array(errors).reshape(shape),
            multiplier_errors(measured, multipliers),
            np.array([any(row[k].equality for row in rows) for k in range(len(names))], dtype=np.bool_),
        )

    def place(self, trial: Trial) -> int | None:
        """The row of a trial; None where it is not among them."""
        return next((row for row, each in enumerate(self.trials) if each.trial_id == trial.trial_id), None)


def may_have_settled(trial: Trial) -> bool:
    """Say whether a trial's dual steps were enough to tell that; of fewer its multipliers are no prices."""
    return not trial.reason.endswith(UNTOLD)


def _outcome(trial: Trial, name: str) -> ConstraintRecord:
    return next(outcome for outcome in trial.constraints if outcome.name == name)


def _usable(trial: Trial, names: tuple[str, ...]) -> bool:
    if trial.status not in JUDGED_STATUSES or not math.isfinite(trial.metric("objective")):
        return False
    outcomes = {outcome.name: outcome for outcome in trial.constraints}
    return all(
        name in outcomes and math.isfinite(outcomes[name].value) and math.isfinite(outcomes[name].multiplier) for name in names
    )
