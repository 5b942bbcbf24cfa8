"""A sweep in this process: its own study, choice of neighbours and records, one training after another."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from dualsweep.sweeps.conductor import Conductor
from dualsweep.sweeps.dual_informed.of_plan import outcome_of
from dualsweep.sweeps.planning.plan import Plan
from dualsweep.sweeps.records.trial_record import TrialRecord
from dualsweep.sweeps.records.trial_start import ProposedTrial, begun_recipe
from dualsweep.sweeps.runner import with_start
from dualsweep.sweeps.studies.study import Study
from dualsweep.trainer.result import Result
from tests.benchmarks.common import trained


class Onward(Study):
    """A study that goes on where its sampler would end it, so that every search has the trials that it is given."""

    @property
    def stopped(self) -> None:
        """Never."""


def searched(plan: Plan, folder: Path, trials: int, train: Callable[[ProposedTrial], Result] | None = None) -> list[TrialRecord]:
    """The first trials of a sweep, by number; goes on where `folder` has some of them.

    `train` is given each trial; without it, it is a training below `folder`, from its neighbour where the plan continues.
    """

    def own(asked: ProposedTrial) -> Result:
        recipe = begun_recipe(plan.trial_recipe(asked.params), plan.sweep.continuation, asked.start)
        return trained(recipe, folder / "trials" / str(asked.number))

    with Onward(plan, folder) as study:
        conductor = Conductor(plan)
        while study.finished < trials:
            asked = with_start(conductor, study, folder, next(iter(study.unfinished()), None) or study.ask())
            result = (train or own)(asked)
            TrialRecord(asked.number, asked.params, result, start=asked.start).save(folder)
            values = [result.metrics.get(each, math.nan) for each in plan.objectives]
            slacks = {name: each.slack for name, each in result.constraints.items()}
            study.tell(asked.number, values, slacks, outcome=outcome_of(plan, result))
    return TrialRecord.load_all(folder)[:trials]
