"""`dualsweep train`: one training with live progress, its points in `metrics.jsonl`, its trajectories drawn, its verdicts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console

from dualsweep.cluster.connection import connect
from dualsweep.cluster.resources import concurrency
from dualsweep.sweeps.checking import Checked
from dualsweep.sweeps.interrupts import terminate_like_interrupt
from dualsweep.sweeps.lost_cluster import lost
from dualsweep.sweeps.progress import Progress
from dualsweep.sweeps.records.explained import Explained, Points, write
from dualsweep.sweeps.reports.explaining import show
from dualsweep.sweeps.tracking.histories import histories, read_points
from dualsweep.trainer import metric_names
from dualsweep.trainer.config.masking import masked
from dualsweep.trainer.metric_names import sure, tells_of_another
from dualsweep.trainer.metric_point import MetricPoint
from dualsweep.trainer.ray_shell.job import finished
from dualsweep.trainer.result import Result
from dualsweep.trainer.storage import RESULT, is_local, naming, write_file


def run_single(checked: Checked, console: Console) -> Explained:
    """Trains a checked recipe; prints how it ended, with a verdict for each constraint.

    Raises:
        ClusterError: the cluster can't be joined or is too small.
        InputError: the output holds a run of another recipe.
    """
    name = checked.recipe.name
    local = Path(checked.output) if is_local(checked.output) else Path("runs") / name
    result = finished(checked.output, checked.recipe)
    if result is None:
        result = _trained(checked, local, console)
    else:
        console.print(f"{name} has ended before, after {result.steps} steps: {result.status}", highlight=False, soft_wrap=True)
    points = read_points(local / "metrics.jsonl")
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
        console.print(_logged(checked.store, checked.output, local, explained), highlight=False, soft_wrap=True)
    return explained


def _trained(checked: Checked, local: Path, console: Console) -> Result:
    from dualsweep.trainer.ray_shell.launch import train_checked  # Ray, which a training that has ended does without

    name = checked.recipe.name
    with connect(checked.address, on_loss=lost) as connection:
        concurrency(connection.machine, checked.ask)
        local.mkdir(parents=True, exist_ok=True)
        terminate_like_interrupt()
        with Progress(console, total=1) as progress:
            progress.started(name)
            result = train_checked(checked.recipe, checked.output, lambda payload: _take(payload, local, name, progress))
            # Of a training that broke off the command tells the reason, at its end.
            progress.ended(name, result.status, "" if result.status == "failed" else result.reason, result.seconds)
    return result


def _logged(store: str, output: str, local: Path, explained: Explained) -> str:
    """Logs the training to MLflow; a line for people. Whatever MLflow raises must not end a training that is done."""
    from dualsweep.sweeps.tracking.training import log_training

    try:
        return f"MLflow: run {log_training(store, output, local, explained)} at {masked(store)}"
    except Exception as error:
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return f"MLflow at {masked(store)} did not take the training ({why}); the same command again delivers it"


def _written(checked: Checked, local: Path, points: Points, explained: Explained) -> None:
    """Writes the trajectories, the verdicts, and a copy of the result where the output is elsewhere."""
    result = explained.result
    _draw(local, checked.recipe.name, points)
    write(explained, local)
    if not is_local(checked.output):
        # The output's own result.json lies there; in the output it would mark a run that failed as finished.
        write_file(local / RESULT, json.dumps(result.to_json(), indent=2))


def _take(payload: dict[str, Any], folder: Path, name: str, progress: Progress) -> None:
    progress.reported(name, payload)
    file = folder / "metrics.jsonl"
    known = read_points(file)
    last = known[-1].step if known else -1
    with naming(str(file)), file.open("a", encoding="utf-8") as stream:
        for point in map(MetricPoint.from_json, payload["points"]):
            # A resumed run repeats the steps after its checkpoint, with the same values; the final point has the last step.
            if point.step > last or (point.step == last and point.final):
                stream.write(json.dumps(point.to_json()) + "\n")


def _draw(folder: Path, name: str, points: Points) -> None:
    from dualsweep.analysis.figures.trajectories import trajectories_png

    multipliers, slacks = histories(points)
    if multipliers:
        write_file(folder / "trajectories.png", trajectories_png(multipliers, slacks, title=name))
