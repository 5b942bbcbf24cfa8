"""The MLflow runs of trials and their trainings: opened when a training begins, ended with what became of it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from dualsweep.sweeps.planning.plan import Plan
from dualsweep.sweeps.records.explained import Explained
from dualsweep.sweeps.records.trial_record import TrialRecord
from dualsweep.sweeps.tracking import look_images
from dualsweep.sweeps.tracking.artifacts import (
    TRAJECTORIES,
    dataset_of,
    draw_trajectories,
    verdicts_of,
    write_artifacts,
    write_shown,
)
from dualsweep.sweeps.tracking.histories import histories
from dualsweep.sweeps.tracking.look_images import write_looks
from dualsweep.sweeps.tracking.spool import Spool
from dualsweep.sweeps.tracking.tracker import Tracker
from dualsweep.sweeps.trials.runs import OpenTrial, Run
from dualsweep.trainer.result import Result


class MlflowRuns:
    """The MLflow runs of one sweep, through its tracker. `place` is where trials write, `folder` where this driver does."""

    def __init__(self, plan: Plan, tracker: Tracker, place: str, folder: Path) -> None:
        self._plan, self._tracker, self._place, self._folder = plan, tracker, place, folder

    def any_open(self, record: TrialRecord) -> bool:
        """Whether a kill left a run of a trial open that is over."""
        return any(self._tracker.is_open(record.number, seed) for seed in (None, *self._plan.seeds))

    def begin(self, run: Run) -> None:
        """Opens the run of a training, and of its trial where that has several."""
        if run.seed is not None and not self._tracker.is_open(run.number):
            self._tracker.trial(run.number, run.asked.params, begun=run.asked.start)
        self._tracker.trial(run.number, run.asked.params, run.seed, run.asked.start)

    def reopen(self, run: Run) -> None:
        """Opens the run of a training that was interrupted, so that its end is told."""
        if not self._tracker.is_open(run.number, run.seed):
            self._tracker.trial(run.number, run.asked.params, run.seed, run.asked.start)

    def end(self, trial: OpenTrial) -> None:
        """Ends the runs, so far open, of the trainings that have ended, and of the trial where it has several."""
        for run, result in trial.ended:
            if not self._tracker.has_begun(run.number, run.seed):  # its process died before it was heard of
                self.begin(run)
            if self._tracker.is_open(run.number, run.seed):
                self._end_training(run, result)
        record = trial.record
        if record is not None and record.replicates is not None and self._tracker.is_open(record.number):
            spool, folder = self._tracker.spool(record.number), self._folder / "artifacts" / record.id
            spool.point(record.result.steps, record.metrics, final=True)
            seed = record.replicates.shown
            if self._plan.sweep.mlflow.trajectories:
                points = self._tracker.points(record.number, seed)
                draw_trajectories(points, f"{self._plan.name} {record.id}", folder / f"seed-{seed}")
            _keep(spool, write_shown(folder, record.result, seed), folder)
            several = record.replicates
            counts = {"dualsweep.replicates": str(len(several.runs)), "dualsweep.sound": str(len(several.sound))}
            spool.tags({**counts, **verdicts_of(folder)})
            spool.tags(_stopped_tags(record.result))
            self._tracker.end_trial(record.number, record.result.status, record.result.reason)

    def _end_training(self, run: Run, result: Result) -> None:
        spool = self._tracker.spool(run.number, run.seed)
        points = self._tracker.points(run.number, run.seed)
        explained = Explained.of(f"{self._plan.name} {run.name}", points, result, run.recipe)
        folder = self._folder / "artifacts" / run.folder
        _keep(spool, write_artifacts(folder, run.output(self._place), explained), folder)
        if self._plan.sweep.mlflow.trajectories and histories(points)[0]:
            spool.artifact(folder / TRAJECTORIES)
        looks = write_looks(folder / look_images.FOLDER, run.output(self._place), points, run.recipe)
        for picture in looks:
            spool.artifact(picture, look_images.FOLDER)
        spool.tags(explained.tags() | _stopped_tags(result) | (look_images.TAGS if looks else {}))
        self._tracker.end_trial(run.number, result.status, result.reason, run.seed)


def _keep(spool: Spool, files: Iterable[Path], folder: Path) -> None:
    """Adds the artifacts of a training or a trial, which lie in `folder`, and what it was trained on."""
    for file in files:
        spool.artifact(file)
    if (dataset := dataset_of(folder)) is not None:
        spool.dataset(dataset)


def _stopped_tags(result: Result) -> dict[str, str]:
    """Tags by which stopped trials are found; none for the others."""
    return {"dualsweep.stopped_by": result.stopped_by} if result.stopped_by else {}
