"""`dualsweep train`: one training with live progress, its points in `metrics.jsonl`, its trajectories drawn, its verdicts."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console

from dualsweep.cluster.connection import connect
from dualsweep.cluster.resources import concurrency
from dualsweep.sweeps import way_back
from dualsweep.sweeps.checking import Checked
from dualsweep.sweeps.interrupts import handlers_restored, terminate_like_interrupt
from dualsweep.sweeps.journal import Journal
from dualsweep.sweeps.lost_cluster import lost
from dualsweep.sweeps.mirrored.driving import driving
from dualsweep.sweeps.mirrored.mirror import Driven
from dualsweep.sweeps.nodes_preflight import check_nodes
from dualsweep.sweeps.progress import Progress
from dualsweep.sweeps.records.explained import Explained, Points, write
from dualsweep.sweeps.report_listener import OnReport, nobody
from dualsweep.sweeps.reports.explaining import show
from dualsweep.sweeps.studies.storage import StorageError, locked
from dualsweep.sweeps.tracking.histories import histories
from dualsweep.sweeps.tracking.metrics_file import MetricsFile, read_points
from dualsweep.sweeps.typed import same_again
from dualsweep.trainer import metric_names
from dualsweep.trainer.config.diagnostics import InputError
from dualsweep.trainer.config.masking import masked
from dualsweep.trainer.config.uris import is_local
from dualsweep.trainer.metric_names import sure, tells_of_another
from dualsweep.trainer.metric_point import Payload
from dualsweep.trainer.ray_shell.job import finished
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.result import Result
from dualsweep.trainer.storage import RESULT, write_file


@handlers_restored()
def run_single(checked: Checked, console: Console, on_report: OnReport = nobody) -> Explained:
    """Trains a checked recipe; prints how it ended, with a verdict for each constraint.

    `on_report` is called with every report of the training: {step, steps, seconds, points, …}.

    Raises:
        ClusterError: the cluster can't be joined or is too small.
        InputError: the output holds a run of another recipe, or another command trains there.
    """
    for line in [*way_back.places(checked), *(f"warning: {each}" for each in checked.found.warnings)]:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    with (
        driving(checked.output, lambda text: console.print(text, highlight=False, soft_wrap=True)) as driven,
        ExitStack() as held,
    ):
        return _run(checked, driven, held, console, on_report)


def _alone(held: ExitStack, folder: Path) -> None:
    """Keeps other commands off a training's folder, where two would write each point twice and delete the other's checkpoints."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        held.enter_context(locked(folder / "train.lock", by="training"))
    except StorageError as error:
        raise InputError([error.diagnostic.at(("--output",), "command line", 1)]) from None


def _run(checked: Checked, driven: Driven, held: ExitStack, console: Console, on_report: OnReport) -> Explained:
    name, local = checked.recipe.name, driven.folder
    result = finished(checked.output, checked.recipe)
    if result is None:
        result = _trained(checked, driven, held, console, on_report)
    else:
        _alone(held, local)
        MetricsFile(local).end(result)  # a kill may have come between its result and its last report
        console.print(f"{name} has ended before, after {result.steps} steps: {result.status}", highlight=False, soft_wrap=True)
    points = read_points(local)
    explained = Explained.of(name, points, result, checked.recipe)
    try:
        _written(checked, local, points, explained)
    except OSError:
        if result.status != "failed":  # whose reason this must not hide
            raise
    if result.status != "failed":
        show(explained, console)
    for metric, value in result.metrics.items():
        if metric.startswith(metric_names.EVALUATION) and not tells_of_another(metric, result.metrics):
            console.print(f"  {metric} {value:.4g}{sure(metric, result.metrics)}", highlight=False, markup=False)
    console.print(f"output: {checked.output}", highlight=False, soft_wrap=True)
    if checked.store is not None:
        console.print(
            _logged(checked.store, checked.output, local, explained, checked.document.source), highlight=False, soft_wrap=True
        )
    return explained


def _trained(checked: Checked, driven: Driven, held: ExitStack, console: Console, on_report: OnReport) -> Result:
    from dualsweep.trainer.ray_shell.launch import train_checked  # Ray, which a training that has ended does without

    name, local = checked.recipe.name, driven.folder
    with connect(checked.address, on_loss=lost) as connection:
        concurrency(connection.machine, checked.ask)
        check_nodes(checked, connection, console)
        _alone(held, local)  # not before: what is refused leaves no folder
        terminate_like_interrupt()
        with Progress(console, total=1, journal=Journal.of(local, connection.logs)) as progress:
            progress.started(name, equalities=checked.recipe.equalities)
            kept = MetricsFile(local)

            def take(payload: Payload) -> bool:
                on_report(payload)
                return _take(payload, kept, name, progress) and driven.push()

            result = train_checked(checked.recipe, checked.output, take)
            if result.status != "failed":
                kept.end(result)
            # Of a training that broke off the command tells the reason, at its end.
            reason = "" if result.status == "failed" else result.reason
            progress.ended(name, result.status, reason, result.seconds, result.feasible)
    return result


def _logged(store: str, output: str, local: Path, explained: Explained, file: str) -> str:
    """Logs the training to MLflow; a line for people. Whatever MLflow raises must not end a training that is done."""
    from dualsweep.sweeps.tracking.training import keep_logged, log_training

    try:
        run = log_training(store, output, local, explained, file)
        keep_logged(store, run, local)
        return f"MLflow: run {run} at {masked(store)}; review: {way_back.folder_review(output, store)}"
    except Exception as error:
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return f"MLflow at {masked(store)} did not take the training ({why}); {same_again()} delivers it"


def _written(checked: Checked, local: Path, points: Points, explained: Explained) -> None:
    """Writes the trajectories, the verdicts, and a copy of the result where the output is elsewhere."""
    result = explained.result
    _draw(local, checked.recipe, points)
    write(explained, local)
    if not is_local(checked.output):
        # The output's own result.json lies there; in the output it would mark a run that failed as finished.
        write_file(local / RESULT, json.dumps(result.to_json(), indent=2))


def _take(payload: Payload, kept: MetricsFile, name: str, progress: Progress) -> bool:
    progress.reported(name, payload)
    return kept.take(payload)


def _draw(folder: Path, recipe: Recipe, points: Points) -> None:
    from dualsweep.analysis.figures.trajectories import trajectories_png

    multipliers, slacks = histories(points)
    if multipliers:
        drawn = trajectories_png(multipliers, slacks, title=recipe.name, equalities=recipe.equalities)
        write_file(folder / "trajectories.png", drawn)
