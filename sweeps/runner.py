"""The trials of a sweep, on Ray: what the conductor decides is done, written down, told to the study and MLflow, and shown.

Everything that matters is on the disk before anything else hears of it: a report goes to the spool, a result to the
records, and only then to Optuna and MLflow. So a sweep can be killed at any time; the same command goes on.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dualsweep.sweeps.conductor import Conductor, Halt, Reported
from dualsweep.sweeps.dual_informed.of_plan import outcome_of
from dualsweep.sweeps.mirrored.mirror import Driven
from dualsweep.sweeps.planning.budgets import NAME
from dualsweep.sweeps.planning.plan import Plan
from dualsweep.sweeps.progress import Progress
from dualsweep.sweeps.records.training_ends import load_ends, save_end
from dualsweep.sweeps.records.trial_record import TrialRecord
from dualsweep.sweeps.records.trial_start import ProposedTrial
from dualsweep.sweeps.report_listener import ReportListener, nobody
from dualsweep.sweeps.studies.study import Study
from dualsweep.sweeps.studies.telling import told_slacks
from dualsweep.sweeps.tracking.tracker import Tracker
from dualsweep.sweeps.trials.mlflow_runs import MlflowRuns
from dualsweep.sweeps.trials.runs import Ended, OpenTrial, Run, Seed, refused
from dualsweep.trainer.config.diagnostics import InputError
from dualsweep.trainer.config.uris import is_local, local_path
from dualsweep.trainer.metric_point import MetricPoint, Payload
from dualsweep.trainer.patient_files import StoreAwayError
from dualsweep.trainer.ray_shell.job import Job, job_for, result_in
from dualsweep.trainer.result import Result, failed
from dualsweep.trainer.storage import MARKER, read_file


class Runner:
    """Hands out trainings and takes their reports (`sweeps/tune.py`): all that the conductor reads, and all that it leads to.

    `place` is where trials write, a folder or URI; `driven` where this driver does. `listener` hears of every report.
    `broken_off` has, by name, why trainings have not ended and will not go on now.
    """

    def __init__(
        self, plan: Plan, study: Study, tracker: Tracker, progress: Progress, place: str, driven: Driven,
        listener: ReportListener | None = None,
    ) -> None:  # fmt: skip
        self._listener = listener or ReportListener(nobody)
        self._plan, self._study, self._tracker, self._progress = plan, study, tracker, progress
        self._place, self._driven, self._folder = place, driven, driven.folder
        self._runs = MlflowRuns(plan, tracker, place, self._folder)
        records = TrialRecord.load_all(self._folder)
        for record in records:  # a kill may have come between a trial's record and what follows it
            self._tell(record)
        self._conductor = Conductor(plan, study.unfinished())
        self.broken_off: dict[str, str] = {}
        for record in records:
            self._recall(record)

    def next(self) -> tuple[Run, Job] | None:
        """The next training and what Ray is to do for it; None when there is none left to start."""
        while (following := self._conductor.next()) is not None or self._study.remaining:
            if not isinstance(following, Run):
                self._take_up(following or self._study.ask())
            elif not self._ended_before(following):
                self._driven.push()  # no driver may ever ask for another trial in the place of one that has begun
                return following, self._job(following)
        return None

    def _job(self, run: Run) -> Job:
        judges = posixpath.join(self._place, "judges") if is_local(self._place) else None
        storage = posixpath.join(str(local_path(self._place)), "ray") if is_local(self._place) else None
        return job_for(run.recipe, run.output(self._place), judges, run.name, storage)

    def started(self, run: Run) -> None:
        """Ray has begun a training."""
        self._runs.begin(run)
        self._progress.started(run.name, run.asked.params, run.recipe.equalities)

    def reported(self, run: Run, payload: dict[str, Any]) -> bool:
        """Takes a report; whether the training is over, by its own last report or because it is to stop."""
        if not self._conductor.is_running(run):
            return True  # its trial was stopped
        self._listener.hear(run.name, payload)
        spool, result = self._tracker.spool(run.number, run.seed), payload.get("result")
        for point in map(MetricPoint.from_json, payload["points"]):
            taken = spool.point(point.step, point.metrics, int(point.time * 1000), final=point.final)
            stop = self._conductor.take(run, point.step, point.metrics) if taken and not point.final else None
            if stop and not result:  # what has come to its end keeps it
                self._stop(Halt(run, stop, payload["seconds"]))
                return True
        self._progress.reported(run.name, payload)
        if result:
            self._end(run, Result.from_json(result))
        return bool(result)

    def kept(self, run: Run, payload: dict[str, Any]) -> Sequence[Payload]:
        """The reports, this one and earlier ones, of which all is kept: on the disk, and where the output is."""
        kept = self._tracker.kept(run.number, run.seed, paused=payload.get("paused", False))
        return self._driven.settled(payload, waits="paused" in payload) if kept else ()

    def recovers(self, run: Run, reason: str) -> None:
        """The training's own process died, and another goes on from its checkpoint."""
        self._progress.say(f"trial {run.name}: its own process died ({reason}); another goes on from its checkpoint")

    def moves(self, run: Run, reason: str) -> None:
        """The training has given up its own process, and goes on in another where it fits."""
        self._progress.say(f"trial {run.name} gives up its processes ({reason}), and goes on from its checkpoint where it fits")

    def to_run(self) -> int:
        """How many trainings have not ended, those among them that have not begun."""
        return self._study.remaining * len(self._plan.seeds) + self._conductor.to_end

    def waits(self, run: Run, reason: str) -> None:
        self._progress.say(f"trial {run.name}: {reason}")

    def interrupted(self, run: Run, reason: str) -> None:
        """Its trial stays unfinished, in the study and the records; the sweep goes on with the others."""
        if self._conductor.is_running(run):
            self.broken_off[run.name] = reason
            self._progress.interrupted(run.name, f"{reason}; the same command continues it")

    def lost(self, run: Run, reason: str) -> None:
        """A training without a last report: its result file counts where it wrote one, else it has failed."""
        if not self._conductor.is_running(run):  # its trial was stopped
            return
        try:
            ended = self._has_ended(run)
        except StoreAwayError as error:  # which may hold its result
            self.interrupted(run, str(error))
            return
        if not ended:
            self._end(run, failed(reason))

    def _ended_before(self, run: Run) -> bool:
        try:
            return self._has_ended(run)
        except StoreAwayError:  # its workers wait for the store, and come to the same end
            return False

    def _has_ended(self, run: Run) -> bool:
        """Whether a training's result was written: then it ends with that, as all points but the final one were kept before."""
        if (result := result_in(run.output(self._place))) is None:
            return False
        self._runs.reopen(run)
        self._tracker.spool(run.number, run.seed).point(result.steps, result.metrics, final=True)
        self._end(run, result)
        return True

    def _recall(self, record: TrialRecord) -> None:
        """A trial that was over before: the conductor hears of it, and runs in MLflow that a kill left open are ended."""
        if self._conductor.stops_early and record.result.steps:
            self._conductor.recall(record, self._reported(record.number))
        if self._runs.any_open(record):
            self._runs.end(OpenTrial.of(self._plan, record))

    def _take_up(self, asked: ProposedTrial) -> None:
        try:
            asked = with_start(self._conductor, self._study, self._folder, asked)
            ended = load_ends(self._folder, asked.number, self._plan.seeds)
            trial, halt = self._conductor.take_up(asked, ended, self._reported(asked.number))
        except InputError as error:
            self._refuse(TrialRecord(asked.number, asked.params, refused(error)))
            return
        if halt is None:
            self._settle(trial)  # a kill came between an end and what follows it
            return
        if halt.run in trial.waiting:
            self._runs.reopen(halt.run)
        self._stop(halt)

    def _refuse(self, record: TrialRecord) -> None:
        """Ends a trial that has no training; its record comes last, so that after a kill before it all of this is done again."""
        result = record.result
        self._tracker.refuse_trial(record.number, record.params, result.reason)
        self._record(record)
        self._progress.ended(record.id, result.status, result.reason, result.seconds, trainings=len(self._plan.seeds))

    def _reported(self, number: int) -> dict[Seed, Reported]:
        """What each training of a trial has reported, as spooled, where the conductor goes by it."""
        seeds = self._plan.seeds if self._conductor.stops_early else ()
        return {seed: self._spooled(number, seed) for seed in seeds}

    def _spooled(self, number: int, seed: Seed) -> Reported:
        points = [point for point in self._tracker.points(number, seed) if not point.final]
        seconds = points[-1].time - points[0].time if points else 0.0
        return Reported([(point.step, point.metrics) for point in points], seconds)

    def _end(self, run: Run, result: Result) -> None:
        self._write([(run, result)])
        trial = self._conductor.end(run, result)
        self._settle(trial)
        self._driven.push()
        self._show([(run, result)])
        record = trial.record
        if record is not None and record.replicates is not None:
            self._progress.say(f"trial {record.id} {record.result.status.replace('_', ' ')}: {record.result.reason}")

    def _stop(self, halt: Halt) -> None:
        reported = self._reported(halt.run.number)
        trial, ended = self._conductor.stop(halt, {seed: each.points[-1] for seed, each in reported.items() if each.points})
        self._write(ended)
        self._show(ended)
        self._settle(trial)

    def _write(self, ended: Sequence[Ended]) -> None:
        for run, result in ended:
            if run.seed is not None:
                save_end(self._folder, run.number, run.seed, result)

    def _show(self, ended: Sequence[Ended]) -> None:
        for run, result in ended:
            self._progress.ended(run.name, result.status, result.reason, result.seconds, result.feasible)

    def _settle(self, trial: OpenTrial) -> None:
        """Records a trial whose trainings have all ended, and ends the runs of what has."""
        if (record := trial.record) is not None:
            self._record(record)
        self._runs.end(trial)

    def _record(self, record: TrialRecord) -> None:
        record.save(self._folder)
        self._tell(record)

    def _tell(self, record: TrialRecord) -> None:
        """Tells the study; a trial that was told stays as it is."""
        result = record.result
        values = [result.metrics.get(name, float("nan")) for name in self._plan.objectives]
        outcome = outcome_of(self._plan, result, record.trainings)
        useless = result.status in ("failed", "diverged") or (outcome is None and self._plan.sweep.sampler.name == NAME)
        stopped = result.status == "stopped"
        self._study.tell(record.number, values, told_slacks(result), failed=useless, stopped=stopped, outcome=outcome)


def _is_there(checkpoint: str) -> bool:
    try:
        return read_file(checkpoint, MARKER) is not None
    except StoreAwayError:  # the training waits for it
        return True


def with_start(conductor: Conductor, study: Study, folder: Path, asked: ProposedTrial) -> ProposedTrial:
    """A trial with its start, decided on the records in `folder` and kept in the study where it was not yet; else as it is.

    Raises:
        InputError: the trial's values make no valid recipe.
    """
    if not conductor.wants_start(asked):
        return asked
    start = conductor.start(asked, TrialRecord.load_all(folder), _is_there)
    study.keep_start(asked.number, start)
    return replace(asked, start=start)
