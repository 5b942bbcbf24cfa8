"""A trial's trainings: one, or one for each seed. A trial is over when all of them have ended.

| of trial 7 | one training | with `seeds: 2` |
|---|---|---|
| what it writes | `trials/0007/` | `trials/0007/seed-0/`, `trials/0007/seed-1/` |
| how a training ended | | `records/0007/seed-0.json`, `records/0007/seed-1.json` |
| how the trial ended | `records/0007.json` | `records/0007.json` |
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from dualsweep.sweeps.planning.plan import Plan
from dualsweep.sweeps.records.replicates import Replicates
from dualsweep.sweeps.records.trial_record import TrialRecord, trial_name
from dualsweep.sweeps.records.trial_start import ProposedTrial, begun_recipe
from dualsweep.trainer.config.diagnostics import InputError
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.result import Result, failed

#: Which training of a trial; None where the trial is one training.
Seed = int | None


@dataclass(frozen=True)
class Run:
    """One training of a trial."""

    asked: ProposedTrial
    recipe: Recipe
    seed: Seed = None

    @property
    def number(self) -> int:
        """The trial's number."""
        return self.asked.number

    @property
    def name(self) -> str:
        """How people read of it: `0007`, or `0007-seed-1`."""
        return trial_name(self.number, self.seed)

    @property
    def folder(self) -> str:
        """Where its files lie below `trials` and `artifacts`: `0007`, or `0007/seed-1`."""
        return trial_name(self.number) if self.seed is None else f"{trial_name(self.number)}/seed-{self.seed}"

    def output(self, place: str) -> str:
        """Where it writes; `place` is the sweep's output, a folder or URI."""
        return posixpath.join(place, "trials", self.folder)


Ended = tuple[Run, Result]


def refused(error: InputError) -> Result:
    """How a trial ends whose values make no valid recipe."""
    return failed(f"these values make no valid recipe: {'; '.join(map(str, error.diagnostics))}")


class OpenTrial:
    """A trial that was asked for: its trainings, and the results of those that have ended."""

    def __init__(self, plan: Plan, asked: ProposedTrial, ended: Mapping[Seed, Result]) -> None:
        """`ended` are the results of its trainings, by seed, of those that have ended.

        Raises:
            InputError: the trial's values, or where it starts, make no valid recipe.
        """
        recipe = plan.trial_recipe(asked.params)
        self.asked, self._ended = asked, dict(ended)
        begun = {seed: begun_recipe(recipe, plan.sweep.continuation, asked.start, seed) for seed in plan.seeds}
        seeded = {seed: each if seed is None else each.model_copy(update={"seed": seed}) for seed, each in begun.items()}
        self.runs = [Run(asked, each, seed) for seed, each in seeded.items()]

    @classmethod
    def of(cls, plan: Plan, record: TrialRecord) -> Self:
        """A trial that is over, from its record.

        Raises:
            InputError: the trial's values make no valid recipe.
        """
        runs: Mapping[Any, Result] = {None: record.result} if record.replicates is None else record.replicates.runs
        return cls(plan, ProposedTrial(record.number, dict(record.params), record.start), runs)

    @property
    def number(self) -> int:
        """The trial's number."""
        return self.asked.number

    @property
    def waiting(self) -> list[Run]:
        """The trainings that have not ended, in the order of their seeds."""
        return [run for run in self.runs if run.seed not in self._ended]

    @property
    def ended(self) -> list[Ended]:
        """The trainings that have ended, and how."""
        return [(run, self._ended[run.seed]) for run in self.runs if run.seed in self._ended]

    def end(self, run: Run, result: Result) -> None:
        """Takes the end of one of its trainings."""
        self._ended[run.seed] = result

    @property
    def record(self) -> TrialRecord | None:
        """The trial's record once all of its trainings have ended, None before."""
        if self.waiting:
            return None
        if len(self.runs) == 1:
            return TrialRecord(self.number, self.asked.params, self._ended[None], start=self.asked.start)
        replicates = Replicates({seed: each for seed, each in self._ended.items() if seed is not None})
        return TrialRecord(self.number, self.asked.params, replicates.result, replicates, self.asked.start)
