"""Live progress: a table on a terminal, a line now and then in a log. Trial, step, objective, worst slack, lambda, time left."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from dualsweep.sweeps.journal import Journal, family, standing
from dualsweep.sweeps.notebook_bar import NotebookBar
from dualsweep.sweeps.time_left import TimeLeft
from dualsweep.trainer import metric_names

#: Seconds between two lines of one trial where there is no terminal.
LINE_SECONDS = 15.0


@dataclass
class TrialState:
    """What is known of a running trial; `metrics` are the newest of each name."""

    name: str
    params: str
    step: int = 0
    steps: int = 0
    seconds: float = 0.0
    metrics: dict[str, float] = field(default_factory=dict)
    printed: float = 0.0
    node: str = ""
    log: str = ""
    restarts: int = 0
    reported: float = 0.0

    @property
    def worst(self) -> tuple[str, float] | None:
        """The constraint with the least slack, and that slack."""
        return min(family(self.metrics, metric_names.SLACK).items(), key=lambda item: item[1], default=None)

    def to_json(self) -> dict[str, Any]:
        """How far it is, for the journal: `reported` in seconds of Unix time, 0 before the first report."""
        return {"trial": self.name, "node": self.node, "log": self.log, "restarts": self.restarts, "reported": self.reported} | (
            standing(self.step, self.seconds, self.metrics) | {"steps": self.steps}
        )

    @property
    def multipliers(self) -> str:
        values = list(family(self.metrics, metric_names.MULTIPLIER).values())
        shown = " ".join(f"{value:.3g}" for value in values[:4])
        return shown + (f" … max {max(values):.3g}" if len(values) > 4 else "")

    @property
    def left(self) -> float | None:
        """Seconds of training left, from the pace so far."""
        return self.seconds / self.step * (self.steps - self.step) if self.step else None


class Progress:
    """Follows the trainings of one command; use it as a context. `total` of them, `concurrent` at a time, called `unit`.

    `journal` is where it is written down for others.
    """

    def __init__(
        self, console: Console, total: int, concurrent: int = 1, done: int = 0, unit: str = "trial",
        journal: Journal | None = None,
    ) -> None:  # fmt: skip
        self._console, self._total, self._unit, self._journal = console, total, unit, journal or Journal([])
        self._done, self._time_left = done, TimeLeft(total, concurrent, time.monotonic())
        self._running: dict[str, TrialState] = {}
        self._live = Live(self._table(), console=console, refresh_per_second=2, transient=True) if console.is_terminal else None
        self._bar = NotebookBar() if console.is_jupyter else None

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live:
            self._live.stop()
        self._journal.live([], over=True)

    def say(self, text: str) -> None:
        """A line that stays, above the table."""
        self._console.print(text, highlight=False, soft_wrap=True)

    def started(self, name: str, params: Mapping[str, Any] | None = None) -> None:
        shown = ", ".join(f"{key}={_short(value)}" for key, value in (params or {}).items())
        self._running[name] = TrialState(name, shown)
        self._time_left.started(name, time.monotonic())
        self._journal.event("started", name, params=dict(params or {}))
        if not self._live:
            self.say(f"trial {name} starts{': ' + shown if shown else ''}")
        self._refresh()

    def reported(self, name: str, payload: Mapping[str, Any]) -> None:
        """Takes a report of the worker loop: {step, steps, seconds, points, …}, with `node` and `log` of the worker."""
        state = self._running.setdefault(name, TrialState(name, ""))
        state.reported = time.time()
        self._place(state, payload.get("node", ""), payload.get("log", ""), payload["step"])
        state.step, state.steps, state.seconds = payload["step"], payload["steps"], payload["seconds"]
        for point in payload["points"]:
            state.metrics.update(point["metrics"])
        if not (self._live or self._bar) and time.monotonic() - state.printed >= LINE_SECONDS:
            state.printed = time.monotonic()
            self.say(_line(state))
        self._refresh()

    def _place(self, state: TrialState, node: str, log: str, step: int) -> None:
        """Notes where a training runs; another process than before means that the one before is lost."""
        if not log or log == state.log:
            return
        if state.log:
            state.restarts += 1
            self.say(f"trial {state.name} lost its processes on {state.node}, and goes on at step {step} on {node}")
        state.node, state.log = node, log
        self._journal.event("restarted" if state.restarts else "placed", state.name, node=node, log=log, step=step)

    def ended(self, name: str, status: str, reason: str, seconds: float, feasible: str = "") -> None:
        """A training is over; `feasible` is the verdict, empty where there is none."""
        state = self._running.pop(name, TrialState(name, ""))
        self._journal.event("ended", **state.to_json(), status=status, reason=reason, feasible=feasible)
        self._done += 1
        self._time_left.ended(name, time.monotonic())
        left = self._sweep_left()
        more = f", about {clock(left)} left" if left and self._done < self._total else ""
        told = f"trial {name} {status.replace('_', ' ')} after {clock(seconds)}" + (f": {reason}" if reason else "")
        self.say(f"{told} ({self._done}/{self._total}{more})")
        self._refresh()

    def interrupted(self, name: str, reason: str) -> None:
        """A training that has not ended, and will not go on now."""
        self._running.pop(name, None)
        self._time_left.ended(name, time.monotonic())
        self.say(f"trial {name} interrupted: {reason}")
        self._refresh()

    def _sweep_left(self) -> float | None:
        """Seconds until all trials are done: those running and those to come."""
        steps_left = {name: state.left for name, state in self._running.items()}
        return self._time_left.left(time.monotonic(), self._done, steps_left)

    def _refresh(self) -> None:
        self._journal.live(state.to_json() for state in self._running.values())
        if self._live:
            self._live.update(self._table())
        if self._bar:
            under_way = sum(state.step / state.steps for state in self._running.values() if state.steps)
            done = (self._done + under_way) / self._total if self._total else 1.0
            self._bar.show(done, [_line(state) for state in self._running.values()])

    def _table(self) -> Table:
        left = self._sweep_left()
        title = f"{self._done} of {self._total} {self._unit}s done" + (f", about {clock(left)} left" if left else "")
        table = Table(title=title, title_justify="left", expand=False)
        for column in ("trial", "step", "objective", "worst slack", "λ", "left", "parameters"):
            table.add_column(column, justify="left" if column == "parameters" else "right", overflow="fold")
        for state in self._running.values():
            table.add_row(*_cells(state))
        return table


def _cells(state: TrialState) -> tuple[str, ...]:
    objective = state.metrics.get("objective")
    worst = state.worst
    return (
        state.name,
        f"{state.step}/{state.steps}" if state.steps else "starting",
        "" if objective is None else f"{objective:.4g}",
        "" if worst is None else f"{worst[1]:+.3g} ({worst[0]})",
        state.multipliers,
        clock(state.left) if state.left is not None else "",
        state.params,
    )


def _line(state: TrialState) -> str:
    _, step, objective, worst, multipliers, left, _ = _cells(state)
    parts = [f"trial {state.name} step {step}"]
    parts += [f"objective {objective}"] if objective else []
    parts += [f"worst slack {worst}"] if worst else []
    parts += [f"λ {multipliers}"] if multipliers else []
    parts += [f"{left} left"] if left else []
    return "  ".join(parts)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def clock(seconds: float | None) -> str:
    """Seconds as `1:02:03` or `2:03`."""
    whole = int(seconds or 0)
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"
