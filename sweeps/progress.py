"""Live progress: a table on a terminal, a line now and then in a log. Trial, step or phase, objective, slack, λ, time left."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from dualsweep.sweeps.journal import Journal
from dualsweep.sweeps.notebook_bar import NotebookBar
from dualsweep.sweeps.time_left import TimeLeft
from dualsweep.sweeps.trial_state import TrialState, clock, remaining, short

#: Seconds between two lines of one trial where there is no terminal.
LINE_SECONDS = 15.0
#: Seconds after which what is shown and written down is renewed without a report, as in a long evaluation.
PULSE_SECONDS = 5.0


def _redraws(console: Console) -> bool:
    """Whether a table can be drawn anew in its place: not in a pipe, which Rich calls a terminal where FORCE_COLOR is set."""
    try:
        return console.is_terminal and not console.is_dumb_terminal and console.file.isatty()
    except (ValueError, AttributeError):  # it is closed, or no file at all
        return False


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
        drawn = _redraws(console)
        self._live = Live(self._table(), console=console, refresh_per_second=2, transient=True) if drawn else None
        self._bar = NotebookBar() if console.is_jupyter else None
        self._lock, self._over = threading.RLock(), threading.Event()
        self._pulse = threading.Thread(target=self._beat, name="progress", daemon=True)

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        self._pulse.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        self._pulse.join()
        if self._live:
            self._live.stop()
        with self._lock:  # what was interrupted stays there as it was
            self._journal.live([state.to_json() for state in self._running.values()], over=True)

    def say(self, text: str) -> None:
        """A line that stays, above the table."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def started(
        self, name: str, params: Mapping[str, Any] | None = None, equalities: frozenset[str] = frozenset()
    ) -> None:  # fmt: skip
        """A training has been begun; before its first report it is starting. `equalities` name its constraints with `equals`."""
        shown = ", ".join(f"{key}={short(value)}" for key, value in (params or {}).items())
        with self._lock:
            self._running[name] = TrialState(name, shown, equalities)
            self._time_left.started(name, time.monotonic())
            self._journal.event("started", name, params=dict(params or {}))
            if not self._live:
                self.say(f"trial {name} starts{': ' + shown if shown else ''}")
            self._refresh()

    def reported(self, name: str, payload: Mapping[str, Any]) -> None:
        """Takes a report of the worker loop: {step, steps, seconds, phase, points, …}, with `node` and `log` of the worker."""
        with self._lock:
            state = self._running.setdefault(name, TrialState(name, ""))
            state.reported = time.time()
            self._place(state, payload)
            state.step, state.steps, state.seconds = payload["step"], payload["steps"], payload["seconds"]
            for point in payload["points"]:
                state.metrics.update(point["metrics"])
            phase = payload.get("phase", "training")
            if state.enter(phase, payload.get("phase_share", 0.0), time.monotonic()) and state.evaluating is not None:
                self._journal.event("phase", name, phase=phase, step=state.step)
                if state.seconds >= LINE_SECONDS:
                    state.printed = 0.0  # a long training's evaluation is long too: each of its phases is told at once
            if payload.get("result") is None:  # the end of one is told by `ended`
                self._print(state)
            self._refresh()

    def _place(self, state: TrialState, payload: Mapping[str, Any]) -> None:
        """Notes where a training runs; another process than before means that it has left that one, or that it is lost."""
        node, log, step, workers = (payload.get(key) for key in ("node", "log", "step", "workers"))
        if not log or log == state.log:
            return
        moved, kind = payload.get("moved", ""), "placed"
        if state.log:
            state.restarts += 1
            kind = "moved" if moved else "restarted"
            left = f"left its processes on {state.node} ({moved})" if moved else f"lost its processes on {state.node}"
            on = node if workers == state.workers else f"{node} with {workers} worker{'s' if workers != 1 else ''}"
            self.say(f"trial {state.name} {left}, and goes on at step {step} on {on}")
        state.node, state.log, state.workers = str(node), str(log), int(workers or 0)
        self._journal.event(kind, state.name, node=node, log=log, step=step, workers=workers, moved=moved)

    def side_by_side(self, count: int, reason: str) -> None:
        """From now on so many trainings run at a time, for this reason."""
        with self._lock:
            self._time_left.places(count)
            self.say(f"{count} at a time from now on: {reason}")

    def ended(self, name: str, status: str, reason: str, seconds: float, feasible: str = "", trainings: int = 1) -> None:
        """A training is over, or so many of a trial that has none; `feasible` is the verdict, empty where there is none."""
        with self._lock:
            state = self._running.pop(name, TrialState(name, ""))
            self._journal.event("ended", **state.to_json(), status=status, reason=reason, feasible=feasible)
            self._done += trainings
            if state.evaluating is not None:
                self._time_left.evaluated(time.monotonic() - state.evaluating)
            self._time_left.ended(name, time.monotonic())
            left = remaining(self._sweep_left())
            more = f", about {left} left" if left and self._done < self._total else ""
            told = f"trial {name} {status.replace('_', ' ')} after {clock(seconds)}" + (f": {reason}" if reason else "")
            self.say(f"{told} ({self._done}/{self._total}{more})")
            self._refresh()

    def interrupted(self, name: str, reason: str) -> None:
        """A training that has not ended, and will not go on now."""
        with self._lock:
            self._running.pop(name, None)
            self._time_left.ended(name, time.monotonic())
            self.say(f"trial {name} interrupted: {reason}")
            self._refresh()

    def _beat(self) -> None:
        """Renews it all while no report comes: who looks at the journal then knows that the command lives."""
        while not self._over.wait(PULSE_SECONDS):
            with self._lock:
                for state in self._running.values():
                    if state.evaluating is not None:  # of a training there is nothing new
                        self._print(state)
                self._refresh()

    def _print(self, state: TrialState) -> None:
        """A line of the log, where one is due."""
        if not (self._live or self._bar) and time.monotonic() - state.printed >= LINE_SECONDS:
            state.printed = time.monotonic()
            self.say(state.line(self._time_left.evaluation, time.monotonic()))

    def _sweep_left(self) -> float | None:
        """Seconds until all trials are done: those running and those to come."""
        now, evaluation = time.monotonic(), self._time_left.evaluation
        seconds_left = {name: state.left(evaluation, now) for name, state in self._running.items()}
        return self._time_left.left(now, self._done, seconds_left)

    def _refresh(self) -> None:
        self._journal.live(state.to_json() for state in self._running.values())
        if self._live:
            self._live.update(self._table())
        if self._bar:
            under_way = sum(state.step / state.steps for state in self._running.values() if state.steps)
            # The final evaluation comes after the last step: full is what has ended alone, in the whole percents that are shown.
            done = min((self._done + under_way) / self._total, 0.99) if self._done < self._total else 1.0
            now, evaluation = time.monotonic(), self._time_left.evaluation
            self._bar.show(done, [state.line(evaluation, now) for state in self._running.values()])

    def _table(self) -> Table:
        left = remaining(self._sweep_left())
        title = f"{self._done} of {self._total} {self._unit}s done" + (f", about {left} left" if left else "")
        table = Table(title=title, title_justify="left", expand=False)
        for column in ("trial", "step", "objective", "worst slack", "λ", "left", "parameters"):
            table.add_column(column, justify="left" if column == "parameters" else "right", overflow="fold")
        for state in self._running.values():
            table.add_row(*map(Text, state.cells(self._time_left.evaluation, time.monotonic())))
        return table
