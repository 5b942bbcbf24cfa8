"""A whole sweep: trials handed out, their reports recorded, told to the study and tracked; the review at the end.

Everything that matters is on the disk before anything else hears of it: a report goes to the spool, a result to the
records, and only then to Optuna and MLflow. So a sweep can be killed at any time; the same command goes on.
"""

from __future__ import annotations

import json
import posixpath
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from analysis.figures.trajectories import trajectories_png
from analysis.review import review
from cluster.address import gcs_address, probe_gcs
from cluster.connection import connect
from cluster.resources import concurrency
from sweeps.budgets import NAME
from sweeps.checking import Checked
from sweeps.continuing import Continuing
from sweeps.explaining import Explained, Points, write
from sweeps.histories import histories
from sweeps.informing import outcome_of
from sweeps.interrupts import terminate_like_interrupt
from sweeps.plan import Plan
from sweeps.progress import Progress
from sweeps.results import Results, TrialRecord, sweep_record
from sweeps.reviewing import review_of, show, summary
from sweeps.spool import FOLDER, Spool, read
from sweeps.starts import begun_recipe
from sweeps.study import Asked, Study
from sweeps.tracking import Tracker, trial_name
from trainer.errors import BadInput
from trainer.outcome import Result, failed
from trainer.places import RESULT, is_local, local_path, read_file
from trainer.recipe import Recipe
from trainer.run import Job, job_for, result_in


class Conductor:
    """Hands out trials and takes their reports (see `sweeps.tune.Conductor`).

    `place` is where trials write, a folder or URI; `folder` where this driver does.
    """

    def __init__(self, plan: Plan, study: Study, tracker: Tracker, progress: Progress, place: str, folder: Path) -> None:
        self._plan, self._study, self._tracker, self._progress = plan, study, tracker, progress
        self._place, self._folder = place, folder
        self._continuing = Continuing(plan, study, folder)
        self._recover()
        self._unfinished = deque(study.unfinished())
        self._running: dict[int, tuple[Asked, Recipe]] = {}
        self._spools: dict[int, Spool] = {}

    def _recover(self) -> None:
        """Makes up for a kill between a trial's record and what follows it: the study is told, the child run is ended."""
        for record in TrialRecord.load_all(self._folder):
            self._tell(record)
            spool = Spool(self._folder / FOLDER / f"{record.id}.jsonl")
            if spool.status == "RUNNING":
                recipe = begun_recipe(self._plan.trial_recipe(record.params), self._plan.sweep.continuation, record.start)
                self._track_end(spool, record.number, recipe, record.result)

    def next(self) -> tuple[Asked, Job] | None:
        while self._unfinished or self._study.remaining:
            asked = self._unfinished.popleft() if self._unfinished else self._study.ask()
            try:
                asked = self._continuing.decided(asked)
                recipe = begun_recipe(self._plan.trial_recipe(asked.params), self._plan.sweep.continuation, asked.start)
            except BadInput as error:
                self._record(asked, failed(f"these values make no valid recipe: {error}"))
                continue
            self._running[asked.number] = (asked, recipe)
            output = posixpath.join(self._place, "trials", trial_name(asked.number))
            return asked, job_for(recipe, output, judges=posixpath.join(self._place, "judges") if is_local(self._place) else None)
        return None

    def started(self, asked: Asked) -> None:
        self._spools[asked.number] = self._tracker.trial(asked.number, asked.params, asked.start)
        self._progress.started(trial_name(asked.number), asked.params)

    def reported(self, number: int, payload: dict[str, Any]) -> None:
        name, result = trial_name(number), payload.get("result")
        for point in payload["points"]:
            final = bool(result) and point is payload["points"][-1]
            self._spools[number].point(point["step"], point["metrics"], int(point["time"] * 1000), final=final)
        self._progress.reported(name, payload)
        if result:
            self._end(number, Result.from_json(result))

    def lost(self, number: int, reason: str) -> None:
        """A trial without a last report: its result file counts where it wrote one, else it has failed."""
        result = result_in(posixpath.join(self._place, "trials", trial_name(number)))
        if result is None:
            self._end(number, failed(reason))
            return
        self._spools[number].point(result.steps, result.metrics, final=True)
        self._end(number, result)

    def _end(self, number: int, result: Result) -> None:
        asked, recipe = self._running.pop(number)
        self._record(asked, result)
        self._track_end(self._spools[number], number, recipe, result)
        self._progress.ended(trial_name(number), result.status, result.reason, result.seconds)

    def _track_end(self, spool: Spool, number: int, recipe: Recipe, result: Result) -> None:
        name = trial_name(number)
        records = read(self._folder / FOLDER / f"{name}.jsonl", 0).records
        points = [(each["step"], each["metrics"]) for each in records if each["kind"] == "point"]
        explained = Explained.of(f"{self._plan.name} {name}", points, result, recipe)
        for path in self._artifacts(name, points, explained):
            spool.artifact(path)
        spool.tags(explained.tags())
        self._tracker.end_trial(number, result.status, result.reason)

    def _record(self, asked: Asked, result: Result) -> None:
        record = TrialRecord(asked.number, asked.params, result, asked.start)
        record.save(self._folder)
        self._tell(record)

    def _tell(self, record: TrialRecord) -> None:
        """Tells the study; a trial that was told stays as it is."""
        result = record.result
        values = [result.metrics.get(name, float("nan")) for name in self._plan.objectives]
        slacks = {name: each.slack for name, each in result.constraints.items()}
        outcome = outcome_of(self._plan, result)
        useless = result.status in ("failed", "diverged") or (outcome is None and self._plan.sweep.sampler.name == NAME)
        self._study.tell(record.number, values, slacks, failed=useless, outcome=outcome)

    def _artifacts(self, name: str, points: Points, explained: Explained) -> list[Path]:
        """The trial's files for MLflow, brought to this machine where they lie elsewhere."""
        folder = self._folder / "artifacts" / name
        folder.mkdir(parents=True, exist_ok=True)
        write(explained, folder)
        (folder / RESULT).write_text(json.dumps(explained.result.to_json(), indent=2), encoding="utf-8")
        for file in ("samples.png", "notes.txt"):
            content = read_file(posixpath.join(self._place, "trials", name), file)
            if content is not None:
                (folder / file).write_bytes(content)
        multipliers, slacks = histories(points)
        if multipliers:
            image = trajectories_png(multipliers, slacks, title=f"{self._plan.name} {name}")
            (folder / "trajectories.png").write_bytes(image)
        return sorted(folder.iterdir())


def run_sweep(checked: Checked, console: Console) -> Results:
    """Runs or continues a checked sweep to its end, or until Ctrl-C, and reviews what is done.

    Raises:
        ClusterError: the cluster can't be joined or is too small.
        BadInput: the output holds a sweep of another kind, or another process works on it.
    """
    plan = checked.plan
    assert plan is not None
    folder = local_path(checked.output) if is_local(checked.output) else Path("runs") / plan.name
    target = gcs_address(checked.address)
    if target:
        probe_gcs(target)  # before anything is written
    with Study(plan, folder) as study:
        tracker = Tracker(plan, folder, lambda text: console.print(text, highlight=False, soft_wrap=True))
        run_status = "FAILED"
        try:
            if study.unfinished() or study.remaining:
                _run_trials(checked, plan, study, tracker, folder, console)
            run_status = "KILLED" if study.unfinished() or study.remaining else "FINISHED"
            if study.stopped:
                console.print(f"ended after {study.finished} trials: {study.stopped}", highlight=False, soft_wrap=True)
        except (KeyboardInterrupt, SystemExit):
            run_status = "KILLED"
            raise
        finally:
            for asked in study.unfinished():
                tracker.end_trial(asked.number, "interrupted", "the sweep was interrupted; the same command continues")
            status = {"KILLED": "interrupted", "FAILED": "failed", "FINISHED": "done"}[run_status]
            tracker.end(status, run_status, study.stopped or "")
            undelivered = tracker.close()
            if undelivered:
                console.print(undelivered, highlight=False, soft_wrap=True)
        sweep = None if undelivered else tracker.run_id
        return replace(_reviewed(checked, plan, folder, run_status == "KILLED", sweep, console), stopped=study.stopped)


def _run_trials(checked: Checked, plan: Plan, study: Study, tracker: Tracker, folder: Path, console: Console) -> None:
    left = len(study.unfinished()) + study.remaining
    if study.finished:
        console.print(f"continuing: {study.finished} of {plan.trials} trials are done", highlight=False)
    with connect(checked.address) as connection:
        fits = concurrency(connection.machine, checked.ask, plan.sweep.concurrency)
        concurrent = min(fits.concurrent, left)
        terminate_like_interrupt()
        console.print(
            f"{left} trial{'s' if left > 1 else ''}, {concurrent} at a time: {fits.reason}", highlight=False, soft_wrap=True
        )
        from sweeps.tune import run_trials

        with Progress(console, plan.trials, concurrent, study.finished) as progress:
            run_trials(Conductor(plan, study, tracker, progress, checked.output, folder), left, concurrent, folder)


def _reviewed(checked: Checked, plan: Plan, folder: Path, interrupted: bool, sweep: str | None, console: Console) -> Results:
    """The review: from MLflow where it has everything (`sweep` is the parent run), else from this folder's own records."""
    records = TrialRecord.load_all(folder)
    if sweep is None:
        record = sweep_record(plan, records)
        made = review(record, folder)
    else:
        record, made = review_of(plan.tracking_uri, sweep, folder)
    show(record, made, console)
    again = f"dualsweep sweep {checked.file}"
    if interrupted:
        console.print(
            f"interrupted with {len(records)} of {plan.trials} trials done; to continue: the same command again ({again})"
        )
    console.print(f"review: dualsweep ui {checked.file}", highlight=False, soft_wrap=True)
    return Results(trials=records, interrupted=interrupted, **summary(made))
