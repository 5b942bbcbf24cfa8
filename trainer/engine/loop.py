"""The worker loop: primal steps on this worker's shards, dual steps by the coordinator, checkpoints, the end.

It knows nothing of how it was started: a `Host` hands it rank, world, coordinator, report and checkpoints.

Which multipliers a step uses is exact (`version_at`): with staleness 1 the coordinator's answer to the last dual step is
awaited only one primal step later, so that its latency hides behind the computation, and yet every run is reproducible.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from dualsweep.trainer.checkpoint import Snapshot
from dualsweep.trainer.data.description import check_division, division
from dualsweep.trainer.dual.controller import MOST_SKIPPED
from dualsweep.trainer.dual.problem import Vector
from dualsweep.trainer.dual.settling import settled_multipliers
from dualsweep.trainer.dual.state import DualState, version_at
from dualsweep.trainer.engine.assembly import Prepared
from dualsweep.trainer.engine.monitoring import Keep, looks_of
from dualsweep.trainer.engine.outbox import MOST_POINTS, Outbox
from dualsweep.trainer.engine.room import room_for
from dualsweep.trainer.engine.training_metrics import MetricWindow
from dualsweep.trainer.engine.update_log import UpdateLog
from dualsweep.trainer.engine.warm_start import begin
from dualsweep.trainer.errors import TrainingPaused
from dualsweep.trainer.metric_point import MetricPoint, Phase
from dualsweep.trainer.result import Status
from dualsweep.trainer.sources.base import SourceStep
from dualsweep.trainer.sources.value_accumulator import ValueAccumulator

#: Seconds between two live reports, about.
REPORT_SECONDS = 2.0
#: Primal steps after which the time of a step is known well enough to choose the number of steps between reports.
TIMED_STEPS = 10
#: Seconds between two questions whether points are taken: a receiver answers within some hundredths, or when its disk has room.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.6

Files = Callable[[Vector], dict[str, bytes]]
#: The status that a run ends with, and the reason.
Ending = tuple[Status, str]


@dataclass(frozen=True)
class Trained:
    """A training that is over, after so many steps and seconds; `early` is the end of one that broke off."""

    state: DualState
    step: int
    seconds: float
    early: Ending | None


class Loop:
    """One worker's part of one training, from its first step or the last checkpoint to its end."""

    def __init__(self, prepared: Prepared, files: Files, keep: Keep = lambda step, picture: None) -> None:
        """`files` makes the small files of a checkpoint; `keep` takes the picture of a look (`monitoring.py`)."""
        self.recipe = prepared.recipe
        self.primal, self.sources, self.shape = prepared.primal, prepared.sources, prepared.shape
        self.host, self.files = prepared.host, files
        self._prepared = prepared
        self.problem = prepared.problem
        self.policy = prepared.policy
        self.state = self.policy.controller.first()
        self.window = MetricWindow.empty(len(self.problem.names))
        self.sums = ValueAccumulator(1 + len(self.problem.names))
        self.updates = UpdateLog()
        self._division = None if prepared.data is None else division(prepared.data)
        self.step, self.seconds = 0, 0.0
        self._answer: Callable[[], DualState] | None = None
        self._told = True
        self._looks, self._seen = looks_of(prepared, keep), dict[str, float]()
        self._outbox = Outbox()
        self._phase: Phase = "training"
        self._report_every = TIMED_STEPS

    def run(self) -> Trained:
        """Trains to the end: until all steps are used, or the run breaks off.

        Raises:
            TrainingPaused: it is to leave; the checkpoint of its present step is being written.
        """
        end = self._resume()
        self.host.coordinator.begin(self.state, self.host.world)
        started, before = time.monotonic(), self.seconds
        try:
            while self.step < self.recipe.train.steps and end is None:
                self.advance()
                self.look_when_due()
                self.seconds = before + time.monotonic() - started
                end = self._early_end()
                self._save_when_due(end)
                self._report_when_due(started, end)
        finally:
            for source in self.sources:
                source.close()
        return Trained(self.state, self.step, self.seconds, end)

    @property
    def settled(self) -> Vector:
        """The Lagrangian's coefficients [1 + m] for the averaged multipliers, which go with the averaged weights."""
        return self.problem.mixture_weights(settled_multipliers(self.state))

    def _resume(self) -> Ending | None:
        """Puts everything back as the last checkpoint has it; returns the end that it had come to, if any.

        Only a run without a checkpoint of its own begins, where its recipe says so, from another's.
        """
        snapshot = self.host.checkpoints.latest()
        if snapshot is None:
            if self.recipe.start is not None:
                self.state = begin(self._prepared, self.recipe.start, self.problem, self.state)
            return None
        check_division(snapshot.state.get("data", self._division), self._division, snapshot.step)  # of 0.1 none is known
        self.primal.restore(snapshot.groups, snapshot.state["primal"])
        self.state = DualState.from_json(snapshot.state["dual"])
        self.window = MetricWindow.from_json(snapshot.state["window"])
        self.step, self.seconds = snapshot.step, snapshot.state["seconds"]
        self.updates.bad = snapshot.state["bad_steps"]
        for source, drawn in zip(self.sources, snapshot.state.get("sources", [{}] * len(self.sources)), strict=True):
            source.restore(drawn)
        self._outbox = Outbox(map(MetricPoint.from_json, snapshot.state["points"]))
        end = snapshot.state["end"]
        return (end[0], end[1]) if end else None

    def advance(self) -> None:
        """One primal step and, where one ends with it, the report of a dual step, which alone waits for the device."""
        dual = self.recipe.dual
        wanted = version_at(self.step, dual.every, dual.staleness)
        if wanted > self.state.version:
            self._settle()
        multipliers = self.state.applied if self.state.version == wanted else self.state.previous
        self.host.observed["staleness_dual_steps"] = self.step // dual.every - wanted
        coefficients = self.problem.mixture_weights(multipliers)
        self.primal.begin(self.step, coefficients)
        self._update(coefficients)
        self.step += 1
        if self.step % dual.every == 0:
            self._settle()
            self.updates.read()
            self._answer = self.host.coordinator.exchange(self.sums.report(self.step // dual.every - 1, self.host.rank))
            if dual.staleness == 0:
                self._take()

    def _update(self, coefficients: Vector) -> None:
        """Updates the weights as often as the source with the most updates asks for.

        A source of fewer updates draws anew when its own are done: each update is along the whole Lagrangian's gradient, and no
        batch serves more updates than its source foresees. Values are of the weights that the step begins with.
        """
        steps: list[SourceStep] = []
        most = max(source.updates for source in self.sources)
        for number in range(most):
            for place, source in enumerate(self.sources):
                draw, within = divmod(number, source.updates)
                if within == 0:
                    steps[place : place + 1] = [source.begin_step(self.step * -(-most // source.updates) + draw, coefficients)]
            updates = [number % source.updates for source in self.sources]
            surrogates = [partial(_lagrangian, steps, updates, piece) for piece in range(self.recipe.train.accumulate)]
            self.updates.add(self.step, self.primal.update(surrogates), steps)
            if number == 0:
                for source_step in steps:
                    source_step.add_to(self.sums)

    def _settle(self) -> None:
        """Takes the coordinator's outstanding answer, if any, and logs its point when one is due."""
        self._take()
        self._tell()

    def _take(self) -> None:
        if self._answer is not None:
            self.state, self._answer, self._told = self._answer(), None, False
            self.window = self.window.add(self.problem, self.state)

    def _tell(self) -> None:
        """Logs the point of the answer that was taken last, when one is due, once; a look of that step is to come before."""
        if self._told:
            return
        self._told = True
        every, log_every = self.recipe.dual.every, self.recipe.train.log_every
        step = self.state.version * every
        if step // log_every > (step - every) // log_every:
            self._add(step, self.policy.shown(self.window.metrics(self.problem, self.state)) | self._seen)
            self._seen = {}
            self.window = MetricWindow.empty(len(self.problem.names))

    def look_when_due(self) -> None:
        """Looks at the training where its recipe asks for that now; what is seen is told with the point of this step."""
        if self._looks is not None and self._looks.due(self.step):
            self.look()
        self._tell()

    def look(self) -> None:
        """Looks at the training as it is, where its recipe asks for looks."""
        if self._looks is not None:
            self.enter("looking")
            with room_for("a look at the training", self.recipe):
                self._seen = self._looks.look(self.step, self.settled)
            self._phase = "training"

    def _early_end(self) -> Ending | None:
        """At dual steps alone, whose state is known: between them a checkpoint may have taken an answer that else comes later."""
        if self.step % self.recipe.dual.every:
            return None
        if self.updates.most >= MOST_SKIPPED:
            return (
                "diverged",
                f"{self.updates.most} steps in a row had a gradient that is not finite; lower train.lr or set train.clip",
            )
        if self.state.skipped_in_a_row >= MOST_SKIPPED:
            return "diverged", f"{self.state.skipped_in_a_row} dual steps in a row had no finite value; lower train.lr"
        why = self.policy.controller.infeasible(self.state)
        return ("infeasible", why) if why else None

    def _save_when_due(self, end: Ending | None) -> None:
        """Checkpoints lie on dual steps (the sums of an unfinished one are not stored), except where the run ends."""
        every = self.recipe.dual.every
        period = every if self.host.coordinator.pauses else -(-self.recipe.checkpoint.every // every) * every
        last = end is not None or self.step == self.recipe.train.steps
        if not last and self.step % period:
            return
        self._settle()
        if self.host.rank == 0 or self.primal.together:
            groups, numbers = self.primal.state()
            files = self.files(self.settled)
        if self.host.rank == 0:
            state = {
                "primal": numbers,
                "dual": self.state.to_json(),
                "window": self.window.to_json(),
                "seconds": self.seconds,
                "bad_steps": self.updates.bad,
                "sources": [source.state() for source in self.sources],
                "data": self._division,
                "end": end,
                "shape": list(self.shape),
                # What nobody has said to keep is sent again from here; receivers drop what they have.
                "points": [point.to_json() for point in self._outbox.kept()],
            }
            self.host.checkpoints.save(Snapshot(self.step, groups, state, files))
        if self.host.coordinator.pauses and not last:
            raise TrainingPaused(f"the training has left at step {self.step}")

    def _report_when_due(self, started: float, end: Ending | None) -> None:
        if self.step % self._report_every and self.step != self.recipe.train.steps and end is None:
            return
        if self._report_every == TIMED_STEPS:
            if self.host.device.type == "cuda":
                torch.cuda.synchronize(self.host.device)  # what is not computed yet is not timed
            seconds = (time.monotonic() - started) / TIMED_STEPS
            self._report_every = self.host.agree(max(TIMED_STEPS + 1, int(REPORT_SECONDS / max(seconds, 1e-4))))
        self.report()
        self.wait(MOST_POINTS)

    def report(self, **extra: Any) -> None:
        """Sends the points since the last report; every worker calls it, the first one's payload counts."""
        points = [point.to_json() for point in self._outbox.send()]
        place = {"step": self.step, "steps": self.recipe.train.steps, "seconds": self.seconds, "phase": self._phase}
        taken = self.host.report({**place, "points": points, "made": self._outbox.made, **extra})
        self._outbox.acknowledge(taken)

    def enter(self, phase: Phase, share: float = 0.0) -> None:
        """Says what is done now and how much of it; every worker calls it, as it calls `report`."""
        self._phase = phase
        self.report(phase_share=share)

    def wait(self, most: int = 0) -> None:
        """Waits until at most so many points are not acknowledged, and says so in reports; every worker calls it."""
        pause = _FIRST_PAUSE
        while self.host.agree(int(len(self._outbox) > most)):
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
            self.report(paused=pause >= _LONGEST_PAUSE)

    def add_final(self, metrics: dict[str, float]) -> None:
        """The point of the final evaluation, at the present step, beside those that the training makes."""
        self._add(self.step, metrics, final=True)

    def _add(self, step: int, metrics: dict[str, float], *, final: bool = False) -> None:
        self._outbox.add(MetricPoint(step, metrics, final, time.time()))


def _lagrangian(steps: Sequence[SourceStep], updates: Sequence[int], piece: int) -> Tensor:
    """The surrogate of the normalised Lagrangian on a piece of this worker's shard, each source's at its own update."""
    return torch.stack([step.loss(number, piece) for step, number in zip(steps, updates, strict=True)]).sum()
