"""A trial and its trainings: one, or one for each seed. What has ended is on the disk before anybody hears of it.

| of trial 7 | one training | with `seeds: 2` |
|---|---|---|
| what it writes | `trials/0007/` | `trials/0007/seed-0/`, `trials/0007/seed-1/` |
| how a training ended | | `records/0007/seed-0.json`, `records/0007/seed-1.json` |
| how the trial ended | `records/0007.json` | `records/0007.json` |

So whatever is killed, a training whose end is on the disk is never run again, and a trial is over when all of its are.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from dualsweep.sweeps.planning.plan import Plan
from dualsweep.sweeps.records.replicates import Replicates
from dualsweep.sweeps.records.trial_record import FOLDER, TrialRecord, trial_name
from dualsweep.sweeps.records.trial_start import begun_recipe
from dualsweep.sweeps.studies.study import ProposedTrial
from dualsweep.trainer.ray_shell.job import Job, job_for
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.result import Result
from dualsweep.trainer.storage import is_local, write_file


@dataclass(frozen=True)
class Run:
    """One training of a trial; `seed` is None where the trial is this one training."""

    asked: ProposedTrial
    recipe: Recipe
    seed: int | None = None

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
        return run_folder(self.number, self.seed)

    def job(self, place: str) -> Job:
        """What Ray is to do: `place` is the sweep's output, a folder or URI."""
        judges = posixpath.join(place, "judges") if is_local(place) else None
        return job_for(self.recipe, self.output(place), judges, self.name)

    def output(self, place: str) -> str:
        """Where it writes."""
        return posixpath.join(place, "trials", self.folder)


def run_folder(number: int, seed: int | None) -> str:
    """The folder of a trial's training, or of the trial where `seed` is None, below `trials`, `artifacts` and `records`."""
    return trial_name(number) if seed is None else f"{trial_name(number)}/seed-{seed}"


def trainings_left(plan: Plan, unfinished: Sequence[ProposedTrial], remaining: int, output: Path) -> int:
    """The trainings that a sweep has yet to end: of the trials that were asked for, and of those that may yet be."""
    folders = [output / FOLDER / trial_name(each.number) for each in unfinished]
    ended = sum(len(list(folder.glob("seed-*.json"))) for folder in folders)
    return (len(unfinished) + remaining) * len(plan.seeds) - ended


class OpenTrial:
    """A trial that was asked for and is not over: its trainings, and the results of those that have ended."""

    def __init__(self, plan: Plan, asked: ProposedTrial, output: Path) -> None:
        """Finds in `output` which of its trainings have ended.

        Raises:
            InputError: the trial's values make no valid recipe.
        """
        recipe = plan.trial_recipe(asked.params)
        self.asked, self._output = asked, output
        begun = {seed: begun_recipe(recipe, plan.sweep.continuation, asked.start, seed) for seed in plan.seeds}
        seeded = {seed: each if seed is None else each.model_copy(update={"seed": seed}) for seed, each in begun.items()}
        self.runs = [Run(asked, each, seed) for seed, each in seeded.items()]
        self._ended = {run.seed: found for run in self.runs if (found := self._read(run)) is not None}

    @classmethod
    def of(cls, plan: Plan, record: TrialRecord, output: Path) -> Self:
        """A trial that is over, from its record.

        Raises:
            InputError: the trial's values make no valid recipe.
        """
        point = cls(plan, ProposedTrial(record.number, dict(record.params), record.start), output)
        runs: Mapping[Any, Result] = {None: record.result} if record.replicates is None else record.replicates.runs
        point._ended.update(runs)
        return point

    @property
    def replicated(self) -> bool:
        """Whether it has several trainings."""
        return len(self.runs) > 1

    @property
    def waiting(self) -> list[Run]:
        """The trainings that have not ended, in the order of their seeds."""
        return [run for run in self.runs if run.seed not in self._ended]

    @property
    def ended(self) -> list[tuple[Run, Result]]:
        """The trainings that have ended, and how."""
        return [(run, self._ended[run.seed]) for run in self.runs if run.seed in self._ended]

    def end(self, run: Run, result: Result) -> None:
        """Takes the end of one of its trainings."""
        self._ended[run.seed] = result
        if run.seed is not None:
            file = self._file(run)
            file.parent.mkdir(parents=True, exist_ok=True)
            write_file(file, json.dumps(result.to_json()))

    @property
    def record(self) -> TrialRecord | None:
        """The trial's record once all of its trainings have ended, None before."""
        if self.waiting:
            return None
        if not self.replicated:
            return TrialRecord(self.asked.number, self.asked.params, self._ended[None], start=self.asked.start)
        replicates = Replicates({seed: each for seed, each in self._ended.items() if seed is not None})
        return TrialRecord(self.asked.number, self.asked.params, replicates.result, replicates, self.asked.start)

    def _read(self, run: Run) -> Result | None:
        file = self._file(run)
        if run.seed is None or not file.exists():
            return None
        return Result.from_json(json.loads(file.read_text()))

    def _file(self, run: Run) -> Path:
        return self._output / FOLDER / f"{run.folder}.json"
