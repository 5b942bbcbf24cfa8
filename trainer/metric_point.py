"""One point of a run's metrics: as a worker reports it, as it is kept by step, and as verdicts and figures are taken from it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from dualsweep.trainer import metric_names

#: What a training does: its steps, between them `looking` at how far it is (`monitor`), and after these the final evaluation:
#: `measuring` values, `sampling`, `judging` the samples, and `writing` it all down.
Phase = Literal["training", "looking", "measuring", "sampling", "judging", "writing"]
#: A live report of a training: its `step` of so many `steps`, `seconds` so far, its `phase` with the `phase_share` of it that is
#: done (0 where that is not known), the `points` since the last one, and how many points this process has `made` in all.
Payload = dict[str, Any]


@dataclass(frozen=True)
class MetricPoint:
    """Metrics by their MLflow names at a primal step.

    final  whether it is that of the final evaluation, whose multipliers are means: no part of the run's trajectory
    time   when it was made, in seconds of Unix time; NaN where that was not kept
    """

    step: int
    metrics: Mapping[str, float]
    final: bool = False
    time: float = math.nan

    def to_json(self) -> dict[str, Any]:
        """The form of reports, of `metrics.jsonl` and of checkpoints."""
        return {"step": self.step, "time": self.time, "metrics": dict(self.metrics), "final": self.final}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Self:
        """Reads it, also without `final`: files of before there was that field, and MLflow, have only the metrics to go by.

        Of these the seconds of the whole run are measured at its end alone.
        """
        final = plain.get("final", metric_names.SECONDS in plain["metrics"])
        return cls(plain["step"], plain["metrics"], final, plain.get("time", math.nan))
