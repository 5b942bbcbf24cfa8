"""One ended trial, in the output folder and in the `--json` file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from dualsweep.analysis.judging import split_intervals
from dualsweep.analysis.trials import JUDGED_STATUSES, ConstraintRecord, Trial
from dualsweep.sweeps.records.folder_kind import RECORDS
from dualsweep.sweeps.records.replicates import Replicates
from dualsweep.sweeps.records.trial_start import TrialStart
from dualsweep.trainer import metric_names
from dualsweep.trainer.own_files import read_own
from dualsweep.trainer.result import Result, read_result
from dualsweep.trainer.storage import write_file


@dataclass(frozen=True)
class TrialRecord:
    """One ended trial: its number from 0, the values of the searched parameters, how it ended and where it had started.

    Where it is several trainings, `result` is `replicates.result`.
    """

    number: int
    params: Mapping[str, Any]
    result: Result
    replicates: Replicates | None = None
    start: TrialStart | None = None

    @property
    def trainings(self) -> int:
        """Over how many its figures are means."""
        return 1 if self.replicates is None else max(1, len(self.replicates.sound))

    @property
    def id(self) -> str:
        return trial_name(self.number)

    @property
    def training(self) -> str:
        """Where below `trials` the training lies whose model stands for it: `0007`, or `0007/seed-1` of several."""
        return self.id if self.replicates is None else f"{self.id}/seed-{self.replicates.shown}"

    def to_json(self) -> dict[str, Any]:
        plain = {"id": self.id, "params": dict(self.params), **self.result.to_json(), **self._replicates()}
        return {**plain, "continued_from": self.continued_from}

    @property
    def continued_from(self) -> str | None:
        """The id of the trial whose end it started from; None where it started anew."""
        return None if self.start is None else self.start.trial

    def _replicates(self) -> dict[str, Any]:
        """What several trainings add; nothing of one."""
        if self.replicates is None:
            return {}
        runs = [{"seed": seed, **result.to_json()} for seed, result in sorted(self.replicates.runs.items())]
        return {"replicates": runs, "intervals": self.replicates.intervals, "feasibility": self.replicates.feasibility}

    def save(self, output: Path) -> None:
        """Writes the record, whole or not at all."""
        folder = output / RECORDS
        folder.mkdir(parents=True, exist_ok=True)
        plain = {"number": self.number, "params": dict(self.params), "result": self.result.to_json(), **self._replicates()}
        if self.start is not None:
            plain["start"] = self.start.to_json()
        write_file(folder / f"{self.id}.json", json.dumps(plain))

    @classmethod
    def load_all(cls, output: Path) -> list[Self]:
        """All records of an output folder, by number."""
        records = (read_own(path, cls._of) for path in recorded(output).values())
        return [each for each in records if each is not None]

    @classmethod
    def _of(cls, text: bytes) -> Self:
        plain = json.loads(text)
        result, runs = read_result(json.dumps(plain["result"]).encode()), plain.get("replicates")
        replicates = Replicates({each.pop("seed"): Result.from_json(each) for each in runs}) if runs else None
        start = TrialStart.from_json(plain["start"]) if "start" in plain else None
        if type(plain["number"]) is not int or not isinstance(plain["params"], dict):
            raise TypeError(f"a record must have a number and parameters, but got {plain['number']!r} and {plain['params']!r}")
        return cls(plain["number"], plain["params"], result, replicates, start)

    @property
    def metrics(self) -> dict[str, float]:
        """The trial's last metrics as its run in MLflow has them; of several trainings also `interval/…` and `feasibility`."""
        if self.replicates is None:
            return self.result.metrics
        intervals = {metric_names.interval(name): each for name, each in self.replicates.intervals.items()}
        chance = {} if self.replicates.feasibility is None else {"feasibility": self.replicates.feasibility}
        return {**self.result.metrics, **intervals, **chance}

    def as_trial(self) -> Trial:
        """The record as the review reads it from MLflow."""
        result = self.result
        outcomes = tuple(
            ConstraintRecord(
                name, outcome.value, outcome.budget, outcome.slack, outcome.slack_error, outcome.multiplier,
                outcome.kind == "equals", outcome.multiplier_error, outcome.kind, outcome.relaxation, outcome.tolerance,
                outcome.standing,
            )
            for name, outcome in result.constraints.items()
        )  # fmt: skip
        metrics, intervals = split_intervals(self.metrics)
        several = self.replicates
        return Trial(
            self.id, "", result.status, result.reason, dict(self.params), metrics, outcomes,
            seconds=result.seconds, steps=result.steps, intervals=intervals, feasibility=metrics.get("feasibility"),
            replicates=len(several.runs) if several else 1, continued_from=self.continued_from,
            sound=len(several.sound) if several else None,
            unconstrained=not result.constraints and result.status in JUDGED_STATUSES,
        )  # fmt: skip


def recorded(output: Path) -> dict[int, Path]:
    """The files of the records of an output folder, by number; whatever else lies there is nobody's."""
    files = sorted((output / RECORDS).glob("*.json"))
    return {int(file.stem): file for file in files if file.stem.isdecimal() and file.stem.isascii()}


def trial_name(number: int, seed: int | None = None) -> str:
    """How a trial is called everywhere, `0007`, and one of its trainings where it has several: `0007-seed-1`."""
    return f"{number:04d}" if seed is None else f"{number:04d}-seed-{seed}"
