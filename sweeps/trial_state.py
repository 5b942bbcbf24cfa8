"""Where a running training stands, and how that reads: in a table, in a line of a log."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from dualsweep.sweeps.journal import family, standing, worst_slack
from dualsweep.trainer import metric_names


@dataclass
class TrialState:
    """What is known of a running training; `metrics` are the newest of each name.

    `phase` is starting before the first report, then as reports say (`dualsweep.trainer.metric_point.Phase`), `share` how much of
    it is done where that is known, and `since` the clock's seconds at which it began; `evaluating` those at which the steps were
    over.
    """

    name: str
    params: str
    #: The names of the constraints with `equals`.
    equalities: frozenset[str] = frozenset()
    step: int = 0
    steps: int = 0
    seconds: float = 0.0
    metrics: dict[str, float] = field(default_factory=dict)
    printed: float = 0.0
    node: str = ""
    log: str = ""
    workers: int = 0
    restarts: int = 0
    reported: float = 0.0
    phase: str = "starting"
    share: float = 0.0
    since: float = 0.0
    evaluating: float | None = None

    def enter(self, phase: str, share: float, now: float) -> bool:
        """Takes the phase that a report says; whether it is another than before."""
        entered = phase != self.phase
        if entered:
            self.since = now
        if phase in ("training", "looking"):
            self.evaluating = None
        elif self.evaluating is None:
            self.evaluating = now
        self.phase, self.share = phase, share
        return entered

    @property
    def worst(self) -> tuple[str, float] | None:
        """The constraint with the least room left, and that room (see `worst_slack`)."""
        return worst_slack(family(self.metrics, metric_names.SLACK), self.equalities)

    def to_json(self) -> dict[str, Any]:
        """How far it is, for the journal: `reported` in seconds of Unix time, 0 before the first report."""
        where = {"node": self.node, "log": self.log, "workers": self.workers, "restarts": self.restarts}
        stands = standing(self.step, self.seconds, self.metrics, self.equalities)
        phase = {"steps": self.steps, "phase": self.phase, "share": self.share, "reported": self.reported}
        return {"trial": self.name} | where | stands | phase

    @property
    def multipliers(self) -> str:
        values = list(family(self.metrics, metric_names.MULTIPLIER).values())
        shown = " ".join(f"{value:.3g}" for value in values[:4])
        return shown + (f" … max {max(values):.3g}" if len(values) > 4 else "")

    def left(self, evaluation: float | None, now: float) -> float | None:
        """Seconds until it is over: of training by its pace, and of the final evaluation, which takes `evaluation` seconds.

        None where neither is known yet: of the evaluation, before one has ended, it is not.
        """
        if self.evaluating is not None:
            if evaluation is not None and now - self.evaluating < evaluation:
                return evaluation - (now - self.evaluating)
            return (now - self.since) * (1.0 - self.share) / self.share if self.share else None
        return self.seconds / self.step * (self.steps - self.step) + (evaluation or 0.0) if self.step else None

    @property
    def place(self) -> str:
        """How far it is, in words: `120/400`, `sampling 30 %`, `judging`."""
        return place(self.phase, self.share, self.step, self.steps)

    def told(self, evaluation: float | None, now: float) -> str:
        """The time that is left, and what comes after where that has no time yet."""
        left = self.left(evaluation, now)
        if left is None:
            return ""
        unknown = evaluation is None and self.phase != "writing"
        after = "evaluation" if self.evaluating is None else "judging" if self.phase == "sampling" else ""
        return " + ".join(each for each in (remaining(left), after if unknown else "") if each)

    def cells(self, evaluation: float | None, now: float) -> tuple[str, ...]:
        """A row of the table: trial, step or phase, objective, worst slack, multipliers, time left, parameters."""
        objective, worst = self.metrics.get("objective"), self.worst
        return (
            self.name,
            self.place,
            "" if objective is None else f"{objective:.4g}",
            "" if worst is None else f"{worst[1]:+.3g} ({worst[0]})",
            self.multipliers,
            self.told(evaluation, now),
            self.params,
        )

    def line(self, evaluation: float | None, now: float) -> str:
        """A line of a log."""
        _, place, objective, worst, multipliers, left, _ = self.cells(evaluation, now)
        parts = [f"trial {self.name} " + (f"step {place}" if self.phase == "training" else place)]
        if self.phase == "training":
            parts += [f"objective {objective}"] if objective else []
            parts += [f"worst slack {worst}"] if worst else []
            parts += [f"λ {multipliers}"] if multipliers else []
        parts += [f"{left} left"] if left else []
        return "  ".join(parts)


def place(phase: str, share: float, step: int, steps: int) -> str:
    """How far a training is, in words."""
    if phase == "training" or not phase:
        return f"{step}/{steps}" if steps else "starting"
    return f"{phase} {share:.0%}".replace("%", " %") if share else phase


def short(value: Any) -> str:
    """A parameter's value."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def remaining(seconds: float | None) -> str:
    """Seconds that are left, as a clock shows them, from one second on; empty where none are, or nobody knows."""
    return clock(max(seconds, 1.0)) if seconds else ""


def clock(seconds: float) -> str:
    """Seconds as `1:02:03` or `2:03`."""
    whole = int(seconds)
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"
