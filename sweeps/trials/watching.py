"""Early stopping on the side of the sweep: who watches gets every point that was spooled, and finds after a kill what was said.

So what is decided depends on what is on the disk. A kill between a point and the end that was decided on it costs nothing: the
same is decided on it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from dualsweep.sweeps.early_stopping.early_stopper import EarlyStopper, Stop, stopped
from dualsweep.sweeps.early_stopping.watched import Watched
from dualsweep.sweeps.planning.plan import Plan
from dualsweep.sweeps.records.trial_record import TrialRecord
from dualsweep.sweeps.tracking.spool import points_in
from dualsweep.sweeps.tracking.tracker import Tracker
from dualsweep.sweeps.trials.runs import OpenTrial, Run
from dualsweep.trainer.metric_point import MetricPoint
from dualsweep.trainer.result import Result


class Watch:
    """The judge of a sweep's plan, if it asks for one, with the trainings by their names."""

    def __init__(self, plan: Plan, tracker: Tracker) -> None:
        rules = plan.early_stopping
        self._plan, self._tracker = plan, tracker
        self._judge = EarlyStopper(rules, plan.objectives, plan.required) if rules is not None else None

    def recall(self, record: TrialRecord, output: Path) -> None:
        """A trial that was over when the sweep began."""
        if self._judge is not None and record.result.steps:
            for run, result in OpenTrial.of(self._plan, record, output).ended:
                self._judge.recall(Watched.of(run.name, run.recipe), _points(self._spooled(run)), result)

    def resume(self, point: OpenTrial) -> tuple[Run, Stop, float] | None:
        """A trial that is taken up: which of its trainings is to stop or was stopped, why, and after how many seconds."""
        if self._judge is None:
            return None
        found = None
        for run, result in point.ended:
            self._judge.recall(Watched.of(run.name, run.recipe), _points(self._spooled(run)), result)
            if result.status == "stopped" and found is None:
                found = run, Stop(str(result.stopped_by), result.reason), result.seconds
        for run in point.waiting:
            spooled = self._spooled(run)
            stop = self._judge.begin(Watched.of(run.name, run.recipe), _points(spooled))
            if stop is not None and found is None:
                if not self._tracker.is_open(run.number, run.seed):
                    self._tracker.trial(run.number, run.asked.params, run.seed, run.asked.start)
                found = run, stop, spooled[-1].time - spooled[0].time
        return found

    def take(self, run: Run, step: int, metrics: Mapping[str, float]) -> Stop | None:
        """A point of a running training: whether it stops there."""
        return self._judge.take(run.name, step, metrics) if self._judge is not None else None

    def end(self, run: Run, result: Result) -> None:
        """A training has ended, or was stopped."""
        if self._judge is not None:
            self._judge.end(run.name, result)

    def stopped(self, run: Run, stop: Stop, seconds: float) -> Result:
        """The result of a training that is stopped after so many seconds."""
        return stopped(list(_points(self._spooled(run))), stop, run.recipe, seconds)

    def _spooled(self, run: Run) -> list[MetricPoint]:
        """The points of a training without its final evaluation."""
        return [point for point in points_in(self._tracker.spool(run.number, run.seed).path) if not point.final]


def _points(spooled: Iterable[MetricPoint]) -> Iterator[tuple[int, Mapping[str, float]]]:
    return ((point.step, point.metrics) for point in spooled)


def stopped_tags(result: Result) -> dict[str, str]:
    """Tags of an MLflow run by which stopped trials are found; none for the others."""
    return {"dualsweep.stopped_by": result.stopped_by} if result.stopped_by else {}
