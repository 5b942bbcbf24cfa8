"""A whole sweep: trials handed out, their reports recorded, told to the study and tracked; the review at the end.

Everything that matters is on the disk before anything else hears of it: a report goes to the spool, a result to the
records, and only then to Optuna and MLflow. So a sweep can be killed at any time; the same command goes on.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from dualsweep.analysis.review import review
from dualsweep.cluster.address import gcs_address, probe_gcs
from dualsweep.cluster.connection import connect
from dualsweep.cluster.resources import concurrency
from dualsweep.sweeps.checking import Checked
from dualsweep.sweeps.dual_informed.of_plan import outcome_of
from dualsweep.sweeps.early_stopping.early_stopper import Stop
from dualsweep.sweeps.interrupts import terminate_like_interrupt
from dualsweep.sweeps.planning.budgets import NAME
from dualsweep.sweeps.planning.plan import Plan
from dualsweep.sweeps.progress import Progress
from dualsweep.sweeps.records.explained import Explained
from dualsweep.sweeps.records.trial_record import TrialRecord
from dualsweep.sweeps.reports.reviewing import full_link, review_of, show, summary
from dualsweep.sweeps.studies.study import ProposedTrial, Study
from dualsweep.sweeps.studies.telling import told_slacks
from dualsweep.sweeps.tracking.artifacts import verdicts_of, write_artifacts, write_shown
from dualsweep.sweeps.tracking.spool import points_in
from dualsweep.sweeps.tracking.tracker import Tracker
from dualsweep.sweeps.trials.amortising import ended_in, is_waiting, place_of, run_amortised
from dualsweep.sweeps.trials.continuation import Continuing
from dualsweep.sweeps.trials.results import Results, sweep_record
from dualsweep.sweeps.trials.runs import OpenTrial, Run, trainings_left
from dualsweep.sweeps.trials.watching import Watch, stopped_tags
from dualsweep.trainer.amortised.front import front_in
from dualsweep.trainer.config.diagnostics import InputError
from dualsweep.trainer.metric_point import MetricPoint
from dualsweep.trainer.ray_shell.launch import Job, result_in
from dualsweep.trainer.result import Result, failed
from dualsweep.trainer.storage import is_local, local_path


class Conductor:
    """Hands out trainings and takes their reports (`sweeps/tune.py`). A trial is one training, or one for each seed.

    `place` is where trials write, a folder or URI; `folder` where this driver does.
    """

    def __init__(self, plan: Plan, study: Study, tracker: Tracker, progress: Progress, place: str, folder: Path) -> None:
        self._plan, self._study, self._tracker, self._progress = plan, study, tracker, progress
        self._place, self._folder = place, folder
        self._continuing = Continuing(plan, study, folder)
        self._watch = Watch(plan, tracker)
        self._recover()
        self._unfinished = deque(study.unfinished())
        self._points: dict[int, OpenTrial] = {}
        self._waiting: deque[Run] = deque()

    def next(self) -> tuple[Run, Job] | None:
        while not self._waiting and (self._unfinished or self._study.remaining):
            self._open(self._unfinished.popleft() if self._unfinished else self._study.ask())
        if not self._waiting:
            return None
        run = self._waiting.popleft()
        return run, run.job(self._place)

    def started(self, run: Run) -> None:
        self._begin(run)
        self._progress.started(run.name, run.asked.params)

    def _begin(self, run: Run) -> None:
        if run.seed is not None and not self._tracker.is_open(run.number):
            self._tracker.trial(run.number, run.asked.params, begun=run.asked.start)
        self._tracker.trial(run.number, run.asked.params, run.seed, run.asked.start)

    def reported(self, run: Run, payload: dict[str, Any]) -> bool:
        point = self._points.get(run.number)
        if point is None or run not in point.waiting:
            return True  # its trial was stopped
        spool, result = self._tracker.spool(run.number, run.seed), payload.get("result")
        for each in map(MetricPoint.from_json, payload["points"]):
            taken = spool.point(each.step, each.metrics, int(each.time * 1000), final=each.final)
            stop = self._watch.take(run, each.step, each.metrics) if taken and not each.final else None
            if stop and not result:  # what has come to its end keeps it
                self._stop(point, run, stop, payload["seconds"])
                return True
        self._progress.reported(run.name, payload)
        if result:
            self._end(run, Result.from_json(result))
        return bool(result)

    def lost(self, run: Run, reason: str) -> None:
        """A training without a last report: its result file counts where it wrote one, else it has failed."""
        if run.number not in self._points or run not in self._points[run.number].waiting:
            return  # its trial was stopped
        result = result_in(run.output(self._place))
        if result is None:
            self._end(run, failed(reason))
            return
        self._tracker.spool(run.number, run.seed).point(result.steps, result.metrics, final=True)
        self._end(run, result)

    def _recover(self) -> None:
        """Makes up for a kill between a trial's record and what follows it: the study is told, its runs are ended."""
        for record in TrialRecord.load_all(self._folder):
            self._tell(record)
            self._watch.recall(record, self._folder)
            if any(self._tracker.is_open(record.number, seed) for seed in (None, *self._plan.seeds)):
                self._track(OpenTrial.of(self._plan, record, self._folder))

    def _open(self, asked: ProposedTrial) -> None:
        """Takes up a trial: its trainings that have not ended wait for their turn."""
        try:
            asked = self._continuing.decided(asked)
            point = OpenTrial(self._plan, asked, self._folder)
        except InputError as error:
            self._record(TrialRecord(asked.number, asked.params, failed(f"these values make no valid recipe: {error}")))
            return
        self._points[asked.number] = point
        found = self._watch.resume(point)
        if found is not None:
            self._stop(point, *found)
            return
        self._waiting += point.waiting
        self._close(point)  # a kill came between an end and what follows it

    def _end(self, run: Run, result: Result) -> None:
        point = self._points[run.number]
        point.end(run, result)
        self._watch.end(run, result)
        self._close(point)
        self._progress.ended(run.name, result.status, result.reason, result.seconds)
        record = point.record
        if record is not None and record.replicates is not None:
            self._progress.say(f"trial {record.id} {record.result.status.replace('_', ' ')}: {record.result.reason}")

    def _stop(self, point: OpenTrial, run: Run, stop: Stop, seconds: float) -> None:
        """Stops a training, and with it all others of its trial: its figures would be means without one that counts."""
        others = [each for each in point.waiting if each != run]
        self._waiting = deque(each for each in self._waiting if each.number != run.number)
        for each in [run, *others] if run in point.waiting else others:
            reason = stop if each == run else Stop(stop.rule, f"training {run.name} of this trial was stopped: {stop.reason}")
            result = self._watch.stopped(each, reason, seconds if each == run else 0.0)
            point.end(each, result)
            self._watch.end(each, result)
            self._progress.ended(each.name, result.status, result.reason, result.seconds)
        self._close(point)

    def _close(self, point: OpenTrial) -> None:
        """Records a trial whose trainings have all ended, and ends the runs of what has."""
        record = point.record
        if record is not None:
            self._record(record)
        self._track(point)
        if record is not None:
            del self._points[record.number]

    def _record(self, record: TrialRecord) -> None:
        record.save(self._folder)
        self._tell(record)

    def _tell(self, record: TrialRecord) -> None:
        """Tells the study; a trial that was told stays as it is."""
        result = record.result
        values = [result.metrics.get(name, float("nan")) for name in self._plan.objectives]
        outcome = outcome_of(self._plan, result)
        useless = result.status in ("failed", "diverged") or (outcome is None and self._plan.sweep.sampler.name == NAME)
        stopped = result.status == "stopped"
        self._study.tell(record.number, values, told_slacks(result), failed=useless, stopped=stopped, outcome=outcome)

    def _track(self, point: OpenTrial) -> None:
        """Ends the MLflow runs, so far open, of the trainings that have ended, and of the trial where it has several."""
        for run, result in point.ended:
            if not self._tracker.has_begun(run.number, run.seed):  # its process died before it was heard of
                self._begin(run)
            if self._tracker.is_open(run.number, run.seed):
                self._track_run(run, result)
        record = point.record
        if record is not None and record.replicates is not None and self._tracker.is_open(record.number):
            spool, folder = self._tracker.spool(record.number), self._folder / "artifacts" / record.id
            spool.point(record.result.steps, record.metrics, final=True)
            for path in write_shown(folder, record.result, record.replicates.shown):
                spool.artifact(path)
            spool.tags({"dualsweep.replicates": str(len(record.replicates.runs)), **verdicts_of(folder)})
            spool.tags(stopped_tags(record.result))
            self._tracker.end_trial(record.number, record.result.status, record.result.reason)

    def _track_run(self, run: Run, result: Result) -> None:
        spool = self._tracker.spool(run.number, run.seed)
        points = points_in(spool.path)
        explained = Explained.of(f"{self._plan.name} {run.name}", points, result, run.recipe)
        for path in write_artifacts(self._folder / "artifacts" / run.folder, run.output(self._place), points, explained):
            spool.artifact(path)
        spool.tags(explained.tags() | stopped_tags(result))
        self._tracker.end_trial(run.number, result.status, result.reason, run.seed)


def run_sweep(checked: Checked, console: Console) -> Results:
    """Runs or continues a checked sweep to its end, or until Ctrl-C, and reviews what is done.

    Raises:
        ClusterError: the cluster can't be joined or is too small.
        InputError: the output holds a sweep of another kind, or another process works on it.
    """
    plan = checked.plan
    assert plan is not None
    folder = local_path(checked.output) if is_local(checked.output) else Path("runs") / plan.name
    target = gcs_address(checked.address)
    if target:
        probe_gcs(target)  # before anything is written
    with Study(plan, folder) as study:
        for line in study.said:
            console.print(line, highlight=False, soft_wrap=True)
        tracker = Tracker(plan, folder, lambda text: console.print(text, highlight=False, soft_wrap=True))
        run_status, amortised = "FAILED", None
        try:
            if study.unfinished() or study.remaining or is_waiting(plan, checked.output, tracker):
                amortised = _run_trials(checked, plan, study, tracker, folder, console)
            run_status = "KILLED" if study.unfinished() or study.remaining else "FINISHED"
            if study.stopped:
                console.print(f"ended after {study.finished} trials: {study.stopped}", highlight=False, soft_wrap=True)
        except (KeyboardInterrupt, SystemExit):
            run_status = "KILLED"
            raise
        finally:
            for asked in study.unfinished():
                tracker.interrupt(asked.number)
            status = {"KILLED": "interrupted", "FAILED": "failed", "FINISHED": "done"}[run_status]
            tracker.end(status, run_status, study.stopped or "")
            undelivered = tracker.close()
            if undelivered:
                console.print(undelivered, highlight=False, soft_wrap=True)
        sweep = None if undelivered else tracker.run_id
        reviewed = _reviewed(checked, plan, folder, run_status == "KILLED", sweep, console)
        return replace(reviewed, stopped=study.stopped, amortised=amortised or ended_in(plan, checked.output))


def _run_trials(
    checked: Checked, plan: Plan, study: Study, tracker: Tracker, folder: Path, console: Console
) -> Result | None:  # fmt: skip
    """Runs what is left; returns how the amortised training ended, if that was among it."""
    amortised = None
    unfinished, remaining, seeds = study.unfinished(), study.remaining, len(plan.seeds)
    left, runs = len(unfinished) + remaining, trainings_left(plan, unfinished, remaining, folder)
    if study.finished or runs < left * seeds:
        ended = f" ({plan.trials * seeds - runs} of {plan.trials * seeds} trainings)" if seeds > 1 else ""
        console.print(f"continuing: {study.finished} of {plan.trials} trials are done{ended}", highlight=False)
    with connect(checked.address) as connection:
        fits = concurrency(connection.machine, checked.ask, plan.sweep.concurrency)
        concurrent = min(fits.concurrent, max(1, runs))
        terminate_like_interrupt()
        if is_waiting(plan, checked.output, tracker):
            amortised = run_amortised(plan, checked.output, folder, tracker, console)
        if not left:
            return amortised
        trials = f"{left} trial{'s' if left > 1 else ''}" + (f" of {seeds} trainings" if seeds > 1 else "")
        console.print(f"{trials}, {concurrent} at a time: {fits.reason}", highlight=False, soft_wrap=True)
        from dualsweep.sweeps.tune import run_trials

        total, unit = plan.trials * seeds, "training" if seeds > 1 else "trial"
        with Progress(console, total, concurrent, total - runs, unit) as progress:
            run_trials(Conductor(plan, study, tracker, progress, checked.output, folder), max(1, runs), concurrent, folder)
    return amortised


def _reviewed(checked: Checked, plan: Plan, folder: Path, interrupted: bool, sweep: str | None, console: Console) -> Results:
    """The review: from MLflow where it has everything (`sweep` is the parent run), else from this folder's own records."""
    records = TrialRecord.load_all(folder)
    if sweep is None:
        record = replace(sweep_record(plan, records), amortised=front_in(place_of(checked.output)))
        made, view = review(record, folder), None
    else:
        record, made, view = review_of(plan.tracking_uri, sweep, folder, console)
    show(record, made, console, full_link(plan.tracking_uri, view))
    again = f"dualsweep sweep {checked.file}"
    if interrupted:
        console.print(
            f"interrupted with {len(records)} of {plan.trials} trials done; to continue: the same command again ({again})"
        )
    console.print(f"review: dualsweep ui {checked.file}", highlight=False, soft_wrap=True)
    return Results(trials=records, interrupted=interrupted, **summary(made))
