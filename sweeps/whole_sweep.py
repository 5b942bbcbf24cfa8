"""A whole sweep from the command's side: it takes up what is left, connects, lets the trials run, and reviews what is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from dualsweep.analysis.review import review
from dualsweep.cluster.address import gcs_address, probe_gcs
from dualsweep.cluster.connection import connect
from dualsweep.cluster.machine import connected_machine
from dualsweep.cluster.resources import Plan as Fits
from dualsweep.cluster.resources import concurrency
from dualsweep.sweeps import way_back
from dualsweep.sweeps.checking import Checked
from dualsweep.sweeps.interrupts import SOON, handlers_restored, terminate_like_interrupt
from dualsweep.sweeps.journal import Journal
from dualsweep.sweeps.lost_cluster import lost
from dualsweep.sweeps.mirrored.driving import driving
from dualsweep.sweeps.mirrored.mirror import Driven
from dualsweep.sweeps.nodes_preflight import check_nodes
from dualsweep.sweeps.planning.plan import Plan
from dualsweep.sweeps.progress import Progress
from dualsweep.sweeps.records.sweep_summary import keep_summary
from dualsweep.sweeps.records.training_ends import load_ends
from dualsweep.sweeps.records.trial_record import TrialRecord
from dualsweep.sweeps.records.trial_start import ProposedTrial
from dualsweep.sweeps.report_listener import OnReport, ReportListener, nobody
from dualsweep.sweeps.reports.reviewing import Reviewed, full_link, get_ready, review_of, show, summary
from dualsweep.sweeps.runner import Runner
from dualsweep.sweeps.studies.study import Study
from dualsweep.sweeps.tracking.tracker import Tracker
from dualsweep.sweeps.trials.amortising import ended_in, is_waiting, place_of, run_amortised
from dualsweep.sweeps.trials.restoring import restore
from dualsweep.sweeps.trials.results import Results, sweep_record
from dualsweep.sweeps.trials.side_by_side import SideBySide
from dualsweep.trainer.amortised.front import front_in
from dualsweep.trainer.config.masking import masked
from dualsweep.trainer.config.wording import first_line
from dualsweep.trainer.errors import TrainingInterrupted
from dualsweep.trainer.result import Result


def _trainings_left(plan: Plan, unfinished: Sequence[ProposedTrial], remaining: int, folder: Path) -> int:
    """The trainings that a sweep has yet to end: of the trials that were asked for, and of those that may yet be."""
    ended = sum(len(load_ends(folder, each.number, plan.seeds)) for each in unfinished)
    return (len(unfinished) + remaining) * len(plan.seeds) - ended


@handlers_restored()
def run_sweep(checked: Checked, console: Console, on_report: OnReport = nobody) -> Results:
    """Runs or continues a checked sweep to its end, or until Ctrl-C, and reviews what is done.

    `on_report` is called with every report of a training: {trial, step, steps, seconds, points, …}. What it raises ends the
    sweep, as Ctrl-C does, and is raised.

    Raises:
        ClusterError: the cluster can't be joined or is too small.
        InputError: the output holds a sweep of another kind, or another process works on it.
    """
    if target := gcs_address(checked.address):
        probe_gcs(target)  # before anything is written
    for line in [*way_back.places(checked), *(f"warning: {each}" for each in checked.found.warnings)]:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    with driving(checked.output, lambda text: console.print(text, highlight=False, soft_wrap=True)) as driven:
        return _run(checked, driven, console, ReportListener(on_report))


def _run(checked: Checked, driven: Driven, console: Console, listener: ReportListener) -> Results:
    plan, folder = checked.plan, driven.folder
    assert plan is not None
    with Study(plan, folder) as study:
        for line in study.said:
            console.print(line, highlight=False, soft_wrap=True)
        restore(plan, study.ended(), checked.output, folder)
        tracker = Tracker(plan, folder, lambda text: console.print(text, highlight=False, soft_wrap=True))
        run_status, amortised, broken_off = "FAILED", None, dict[str, str]()
        try:
            if study.unfinished() or study.remaining or is_waiting(plan, checked.output, tracker):
                amortised, broken_off = _run_trials(checked, plan, study, tracker, driven, console, listener)
            run_status = "KILLED" if study.unfinished() or study.remaining else "FINISHED"
            if study.stopped:
                console.print(f"ended after {study.finished} trials: {study.stopped}", highlight=False, soft_wrap=True)
        except (KeyboardInterrupt, SystemExit, TrainingInterrupted):
            run_status = "KILLED"
            raise
        except Exception:
            if listener.raised is None:
                raise
            run_status = "KILLED"
            raise listener.raised from None
        finally:
            for asked in study.unfinished():
                tracker.interrupt(asked.number)
            status = {"KILLED": "interrupted", "FAILED": "failed", "FINISHED": "done"}[run_status]
            tracker.end(status, run_status, study.stopped or "")
            undelivered = tracker.close(SOON if run_status == "KILLED" else 30.0)
            if undelivered:
                console.print(undelivered, highlight=False, soft_wrap=True)
        sweep = None if undelivered else tracker.run_id
        reviewed = _reviewed(checked, plan, folder, broken_off if run_status == "KILLED" else None, sweep, console)
        amortised = amortised or ended_in(plan, checked.output)
        keep_summary(folder, {"stopped": study.stopped, "amortised": amortised and amortised.to_json()})
        return replace(reviewed, stopped=study.stopped, amortised=amortised)


def _run_trials(
    checked: Checked, plan: Plan, study: Study, tracker: Tracker, driven: Driven, console: Console, listener: ReportListener
) -> tuple[Result | None, dict[str, str]]:  # fmt: skip
    """Runs what is left; how the amortised training ended, if that was among it, and what broke off, by name, and why."""
    amortised, folder = None, driven.folder
    unfinished, remaining, seeds = study.unfinished(), study.remaining, len(plan.seeds)
    left, runs = len(unfinished) + remaining, _trainings_left(plan, unfinished, remaining, folder)
    if study.finished or runs < left * seeds:
        ended = f" ({plan.trials * seeds - runs} of {plan.trials * seeds} trainings)" if seeds > 1 else ""
        console.print(f"continuing: {study.finished} of {plan.trials} trials are done{ended}", highlight=False)
    with connect(checked.address, on_loss=lost) as connection:
        fits = concurrency(connection.machine, checked.ask, plan.sweep.concurrency)
        check_nodes(checked, connection, console)
        concurrent = max(1, min(fits.concurrent, runs))
        terminate_like_interrupt()
        journal = Journal.of(folder, connection.logs)
        journal.begin(TrialRecord.load_all(folder))
        if is_waiting(plan, checked.output, tracker):
            amortised = run_amortised(plan, checked.output, driven, tracker, console, listener=listener, journal=journal)
        if not left:
            return amortised, {}
        trials = f"{left} trial{'s' if left > 1 else ''}" + (f" of {seeds} trainings" if seeds > 1 else "")
        console.print(f"{trials}, {concurrent} at a time: {fits.reason}", highlight=False, soft_wrap=True)
        from dualsweep.sweeps.tune import run_trials

        total, unit = plan.trials * seeds, "training" if seeds > 1 else "trial"
        with Progress(console, total, concurrent, total - runs, unit, journal) as progress:
            runner = Runner(plan, study, tracker, progress, checked.output, driven, listener)

            def measure() -> Fits:
                return concurrency(connected_machine(), checked.ask, plan.sweep.concurrency)

            side_by_side = SideBySide(fits, measure, runs, progress.side_by_side)
            run_trials(runner, side_by_side.now, folder, get_ready, warm=plan.sweep.hosting == "warm", ends=connection.started)
    return amortised, runner.broken_off


def _reviewed(
    checked: Checked, plan: Plan, folder: Path, broken_off: dict[str, str] | None, sweep: str | None, console: Console
) -> Results:
    """The review: from MLflow where it has everything (`sweep` is the parent run), else from this folder's own records.

    `broken_off`: why trainings were, where the same command goes on; None where nothing is left.
    """
    records, reviewed, why = TrialRecord.load_all(folder), None, ""
    if sweep is not None:
        try:
            reviewed = review_of(plan.tracking_uri, sweep, folder, console)
        except Exception as error:  # MLflow raises many kinds; what is none of its faults is raised once more by the review below
            why = first_line(error)
    if reviewed is None:
        own = replace(sweep_record(plan, records), amortised=front_in(place_of(checked.output)))
        reviewed = Reviewed(own, review(own, folder), None)
    record, made, view = reviewed
    if why:
        told = f"MLflow at {masked(plan.tracking_uri)} did not take the review ({masked(why)}); this front is of the folder's own"
        console.print(f"{told} records, and to put it there: {way_back.again()}", highlight=False, markup=False, soft_wrap=True)
    show(record, made, console, full_link(plan.tracking_uri, view))
    interrupted = broken_off is not None
    if broken_off is not None:
        console.print(way_back.interrupted(plan, len(records), broken_off), highlight=False, soft_wrap=True)
    console.print(way_back.review(plan, checked.output), highlight=False, soft_wrap=True)
    found = summary(made)
    keep_summary(folder, {"name": plan.name, "interrupted": interrupted, **found})
    return Results(trials=records, interrupted=interrupted, **found)
