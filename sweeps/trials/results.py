"""What a sweep came to: one record a trial, in the output folder and in the `--json` file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from analysis.judging import INTERVAL, judge, split_intervals
from analysis.trials import ConstraintRecord, SweepRecord, Trial
from sweeps.exits import exit_code
from sweeps.planning.budgets import ranges
from sweeps.planning.plan import Plan
from sweeps.tracking.tracker import trial_name
from sweeps.trials.replicates import Replicates
from sweeps.trials.starts import TrialStart
from trainer.result import Result
from trainer.storage import write_file

FOLDER = "records"


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
    def id(self) -> str:
        return trial_name(self.number)

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
        folder = output / FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        plain = {"number": self.number, "params": dict(self.params), "result": self.result.to_json(), **self._replicates()}
        if self.start is not None:
            plain["start"] = self.start.to_json()
        write_file(folder / f"{self.id}.json", json.dumps(plain))

    @classmethod
    def load_all(cls, output: Path) -> list[Self]:
        """All records of an output folder, by number."""
        return [cls._of(json.loads(path.read_text())) for path in sorted((output / FOLDER).glob("*.json"))]

    @classmethod
    def _of(cls, plain: dict[str, Any]) -> Self:
        result, runs = Result.from_json(plain["result"]), plain.get("replicates")
        replicates = Replicates({each.pop("seed"): Result.from_json(each) for each in runs}) if runs else None
        start = TrialStart.from_json(plain["start"]) if "start" in plain else None
        return cls(plain["number"], plain["params"], result, replicates, start)

    @property
    def metrics(self) -> dict[str, float]:
        """The trial's last metrics as its run in MLflow has them; of several trainings also `interval/…` and `feasibility`."""
        if self.replicates is None:
            return self.result.metrics
        intervals = {f"{INTERVAL}{name}": each for name, each in self.replicates.intervals.items()}
        chance = {} if self.replicates.feasibility is None else {"feasibility": self.replicates.feasibility}
        return {**self.result.metrics, **intervals, **chance}

    def as_trial(self) -> Trial:
        """The record as the review reads it from MLflow."""
        result = self.result
        outcomes = tuple(
            ConstraintRecord(
                name, each.value, each.budget, each.slack, each.slack_error, each.multiplier, each.kind == "equals",
                each.multiplier_error, each.kind, each.relaxation, each.tolerance, each.standing,
            )
            for name, each in result.constraints.items()
        )  # fmt: skip
        metrics, intervals = split_intervals(self.metrics)
        return Trial(
            self.id, "", result.status, result.reason, dict(self.params), metrics, outcomes,
            seconds=result.seconds, steps=result.steps, intervals=intervals, feasibility=metrics.get("feasibility"),
            replicates=len(self.replicates.runs) if self.replicates else 1, continued_from=self.continued_from,
        )  # fmt: skip


def sweep_record(plan: Plan, records: list[TrialRecord]) -> SweepRecord:
    """A sweep's record without MLflow, for when there is no reaching it."""
    trials = judge([record.as_trial() for record in records], list(plan.objectives))
    point = plan.sweep.reference_point
    return SweepRecord(
        "",
        plan.experiment,
        "",
        plan.objectives,
        tuple(point) if point else None,
        trials,
        tuple(ranges(plan.parameters, plan.recipe_document)),
        required=plan.required,
        maximizes=plan.recipe.maximizes,
        prefer=plan.preference,
    )


@dataclass(frozen=True)
class Results:
    """The end of a sweep; `interrupted` when trials are left that the same command will run, `stopped` why it needs no more."""

    trials: list[TrialRecord]
    front: list[str]
    hypervolume: float | None
    reference_point: list[float] | None
    interrupted: bool
    stopped: str | None = None
    recommended: Mapping[str, Any] = field(default_factory=dict)
    prices: Sequence[Mapping[str, Any]] = ()
    amortised: Result | None = None

    @property
    def exit_code(self) -> int:
        """That of `dualsweep sweep`: 0, 3 where some trials failed or diverged, 1 where all did (`sweeps.exits`)."""
        return exit_code([record.result for record in self.trials], beside=self.amortised)

    @property
    def strict_exit_code(self) -> int:
        """That of `dualsweep sweep --strict`: 3 also unless all trials meet their budgets."""
        return exit_code([record.result for record in self.trials], beside=self.amortised, strict=True)

    def to_json(self) -> dict[str, Any]:
        """The form of `--json` files (docs/sweep.md)."""
        return {
            "trials": [record.to_json() for record in self.trials],
            "front": self.front,
            "hypervolume": self.hypervolume,
            "reference_point": self.reference_point,
            "interrupted": self.interrupted,
            "stopped": self.stopped,
            "recommended": dict(self.recommended),
            "prices": [dict(price) for price in self.prices],
            **({"amortised": self.amortised.to_json()} if self.amortised is not None else {}),
        }
