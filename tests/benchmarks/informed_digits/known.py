"""How well a sweep's trials tell the front: by their multipliers, or by a regression on their values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
from scipy.stats import qmc

from dualsweep.sweeps.dual_informed.of_plan import informed_sampler, outcome_of
from dualsweep.sweeps.dual_informed.sampler import DualInformedSampler
from dualsweep.sweeps.planning.plan import Plan
from dualsweep.sweeps.studies.samplers import distributions
from dualsweep.trainer.result import Result
from tests.benchmarks.bench_informed import value_fit
from tests.benchmarks.informed_digits.volumes import Vector

Rows = Sequence[tuple[Mapping[str, float], Result]]
_BUDGETS = 9  # the Sobol cloud's points, as a power of two


class Fronts:
    """Fronts over one case's box, at the same budgets for all, told by trials."""

    def __init__(self, plan: Plan) -> None:
        """`plan` has the sampler `dual_informed`."""
        self.plan = plan
        ends = np.array([each.kind.ends for each in plan.parameters], dtype=np.float64)
        self.tight, self.loose = ends[:, 0], ends[:, 1]
        cloud = qmc.Sobol(len(ends), seed=0).random_base2(_BUDGETS)
        self.at: Vector = self.tight + cloud * (self.loose - self.tight)

    def by_multipliers(self, rows: Rows) -> Vector:
        """The front [N] as `dual_informed` reads it off trials."""
        study = optuna.create_study(directions=list(self.plan.objectives.values()))
        for params, result in rows:
            outcome = outcome_of(self.plan, result)
            assert outcome is not None
            values = [result.metrics[name] for name in self.plan.objectives]
            told = {"dualsweep.outcome": outcome.to_json()}
            study.add_trial(
                optuna.trial.create_trial(
                    params=dict(params), distributions=distributions(self.plan), values=values, user_attrs=told
                )
            )
        sampler = informed_sampler(self.plan, optuna.samplers.RandomSampler(seed=0))
        assert isinstance(sampler, DualInformedSampler)
        names = [each.name for each in self.plan.parameters]
        found: Vector = sampler.front(study, [dict(zip(names, map(float, point), strict=True)) for point in self.at]).objective
        return found

    def by_values(self, rows: Rows) -> Vector:
        """The front [N] by a Gaussian process of the objective over the budgets asked for."""
        asked = np.array([[params[each.name] for each in self.plan.parameters] for params, _ in rows])
        observations = SimpleNamespace(asked=asked, objective=np.array([result.objective for _, result in rows]))
        case: Any = SimpleNamespace(loose=self.loose, tight=self.tight, size=len(self.tight))
        return value_fit(case, observations, 0.02, self.at, 0)  # type: ignore[arg-type]  # it has what is used of it
