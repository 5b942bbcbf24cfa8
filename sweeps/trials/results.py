"""What a sweep came to: one record a trial, in the output folder and in the `--json` file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dualsweep.analysis.judging import judge
from dualsweep.analysis.trials import SweepRecord
from dualsweep.sweeps.exits import exit_code
from dualsweep.sweeps.planning.plan import Plan
from dualsweep.sweeps.records.json_form import plain
from dualsweep.sweeps.records.trial_record import TrialRecord
from dualsweep.trainer.result import Result


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
        plan.ranges,
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
        """The exit code of `dualsweep sweep`: 0, 3 where some trials failed or diverged, 1 where all did."""
        return exit_code([record.result for record in self.trials], beside=self.amortised)

    @property
    def strict_exit_code(self) -> int:
        """The exit code of `dualsweep sweep --strict`: 3 also unless all trials meet their budgets."""
        return exit_code([record.result for record in self.trials], beside=self.amortised, strict=True)

    def to_json(self) -> dict[str, Any]:
        """The form of `--json` files (docs/sweep.md)."""
        form: dict[str, Any] = {
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
        plainly: dict[str, Any] = plain(form)
        return plainly
