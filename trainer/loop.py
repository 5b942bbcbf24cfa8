"""The worker loop: primal steps on this worker's shards, dual steps by the coordinator, checkpoints, the end.

It knows nothing of how it was started: a `Host` hands it rank, world, coordinator, report and checkpoints.

Which multipliers a step uses is exact (`version_at`): with staleness 1 the coordinator's answer to the last dual step is
awaited only one primal step later, so that its latency hides behind the computation, and yet every run is reproducible.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from diffusers import DDPMScheduler

from trainer.batch import Parts, draw
from trainer.checkpoint import Snapshot
from trainer.data.splits import Assembled
from trainer.draws import shard
from trainer.dual.controller import MOST_SKIPPED, controller_of
from trainer.dual.state import DualState, version_at
from trainer.errors import TrainingError
from trainer.history import Window
from trainer.host import Host
from trainer.models import Predictor
from trainer.outcome import Status
from trainer.primal import Primal, Sums, non_finite
from trainer.problem import Problem
from trainer.recipe import Recipe

#: Seconds between two live reports, about.
REPORT_SECONDS = 2.0
#: Primal steps after which the time of a step is known well enough to choose the number of steps between reports.
TIMED_STEPS = 10

Files = Callable[[Primal], dict[str, bytes]]
Point = dict[str, Any]


class Loop:
    """One worker's part of one training, from its first step or the last checkpoint to its end."""

    def __init__(
        self, recipe: Recipe, data: Assembled, predictor: Predictor, schedule: DDPMScheduler, host: Host, files: Files
    ) -> None:
        self.recipe, self.data, self.schedule, self.host, self.files = recipe, data, schedule, host, files
        self.problem = Problem.of(recipe)
        self.controller = controller_of(recipe)
        self.primal = Primal(recipe, predictor, schedule, host.device, host.rank, host.world)
        self.parts = Parts.of([data.objective_rows, *data.constraint_rows])
        self.state = self.controller.first()
        self.window = Window.empty(len(self.problem.names))
        self.sums = Sums(1 + len(self.problem.names))
        self.step, self.bad_steps, self.seconds = 0, 0, 0.0
        self._answer: Callable[[], DualState] | None = None
        self._points: list[Point] = []
        self._recent: list[Point] = []
        self._report_every = TIMED_STEPS

    def run(self) -> tuple[Status, str] | None:
        """Trains to the end; None when all steps were used, else the early end and its reason."""
        end = self._resume()
        self.host.coordinator.begin(self.state, self.host.world)
        started, before = time.monotonic(), self.seconds
        while self.step < self.recipe.train.steps and end is None:
            self.advance()
            self.seconds = before + time.monotonic() - started
            end = self._early_end()
            self._save_when_due(end)
            self._report_when_due(started)
        return end

    def _resume(self) -> tuple[Status, str] | None:
        """Puts everything back as the last checkpoint has it; returns the end that it had come to, if any."""
        snapshot = self.host.checkpoints.latest()
        if snapshot is None:
            return None
        self.primal.restore(snapshot.groups, snapshot.state["primal"])
        self.state = DualState.from_json(snapshot.state["dual"])
        self.window = Window.from_json(snapshot.state["window"])
        self.step, self.seconds = snapshot.step, snapshot.state["seconds"]
        self.bad_steps = snapshot.state["bad_steps"]
        self._points = snapshot.state["points"]
        end = snapshot.state["end"]
        return (end[0], end[1]) if end else None

    def advance(self) -> None:
        """One primal step and, where one ends with it, the report of a dual step."""
        dual, train = self.recipe.dual, self.recipe.train
        wanted = version_at(self.step, dual.every, dual.staleness)
        if wanted > self.state.version:
            self._settle()
        multipliers = self.state.applied if self.state.version == wanted else self.state.previous
        coefficients = self.problem.coefficients(multipliers)
        batch = draw(coefficients, self.parts, self.schedule.config.num_train_timesteps, train, self.recipe.seed, self.step)
        mine = shard(len(batch.part), self.host.rank, self.host.world)
        rows = batch.index[mine.start : mine.stop]
        x = self.data.examples.fetch(rows)
        losses, norm = self.primal.step(self.step, batch, x)
        self.sums.add(batch.part[mine.start : mine.stop], losses)
        self._check_finite(norm, x, rows)
        self.step += 1
        if self.step % dual.every == 0:
            self._settle()
            self._answer = self.host.coordinator.exchange(self.sums.report(self.step // dual.every - 1, self.host.rank))
            if dual.staleness == 0:
                self._settle()

    def _check_finite(self, norm: float, x: Any, rows: Any) -> None:
        """Counts steps in a row that a non-finite gradient made void; NaN data is an error at once, with its rows."""
        if np.isfinite(norm):
            self.bad_steps = 0
            return
        self.bad_steps += 1
        if bad := non_finite(x, rows):
            raise TrainingError(
                f"data must be finite, but step {self.step} drew NaN or infinity at positions {bad[:5]}; mend or drop them"
            )

    def _settle(self) -> None:
        """Takes the coordinator's outstanding answer, if any, and logs its point when one is due."""
        if self._answer is None:
            return
        self.state, self._answer = self._answer(), None
        self.window = self.window.add(self.problem, self.state)
        every, log_every = self.recipe.dual.every, self.recipe.train.log_every
        step = self.state.version * every
        if step // log_every > (step - every) // log_every:
            metrics = self.window.metrics(self.problem, self.state)
            self._add(step, metrics)
            self.window = Window.empty(len(self.problem.names))

    def _early_end(self) -> tuple[Status, str] | None:
        if self.bad_steps >= MOST_SKIPPED:
            return (
                "diverged",
                f"{self.bad_steps} steps in a row had a gradient that is not finite; lower train.lr or set train.clip",
            )
        if self.state.skipped_in_a_row >= MOST_SKIPPED:
            return "diverged", f"{self.state.skipped_in_a_row} dual steps in a row had no finite value; lower train.lr"
        why = self.controller.infeasible(self.state)
        return ("infeasible", why) if why else None

    def _save_when_due(self, end: tuple[Status, str] | None) -> None:
        """Checkpoints lie on dual steps (the sums of an unfinished one are not stored), except where the run ends."""
        period = -(-self.recipe.checkpoint.every // self.recipe.dual.every) * self.recipe.dual.every
        last = end is not None or self.step == self.recipe.train.steps
        if not last and self.step % period:
            return
        self._settle()
        if self.host.rank == 0:
            groups, numbers = self.primal.state()
            state = {
                "primal": numbers,
                "dual": self.state.to_json(),
                "window": self.window.to_json(),
                "seconds": self.seconds,
                "bad_steps": self.bad_steps,
                "end": end,
                "shape": list(self.data.examples.shape),
                # A kill may lose what was reported but not yet taken, so points are sent again from here; receivers drop
                # those they have.
                "points": self._recent,
            }
            self._recent = []
            self.host.checkpoints.save(Snapshot(self.step, groups, state, self.files(self.primal)))

    def _report_when_due(self, started: float) -> None:
        if self.step % self._report_every and self.step != self.recipe.train.steps:
            return
        if self._report_every == TIMED_STEPS:
            seconds = (time.monotonic() - started) / TIMED_STEPS
            self._report_every = self.host.agree(max(TIMED_STEPS + 1, int(REPORT_SECONDS / max(seconds, 1e-4))))
        self.report()

    def report(self, **extra: Any) -> None:
        """Sends the points since the last report; every worker calls it, the first one's payload counts."""
        points, self._points = self._points, []
        self.host.report(
            {"step": self.step, "steps": self.recipe.train.steps, "seconds": self.seconds, "points": points, **extra}
        )

    def add_point(self, metrics: dict[str, float]) -> None:
        """A point at the present step, beside those that the training makes."""
        self._add(self.step, metrics)

    def _add(self, step: int, metrics: dict[str, float]) -> None:
        point: Point = {"step": step, "time": time.time(), "metrics": metrics}
        self._points.append(point)
        self._recent.append(point)
