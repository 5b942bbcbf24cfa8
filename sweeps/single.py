"""`dualsweep train`: one training with live progress, its points in `metrics.jsonl`, its trajectories drawn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console

from cluster.connection import connect
from cluster.resources import concurrency
from sweeps.checking import Checked
from sweeps.histories import histories
from sweeps.interrupts import terminate_like_interrupt
from sweeps.progress import Progress
from trainer.outcome import Result
from trainer.places import is_local
from trainer.run import train


def run_single(checked: Checked, console: Console) -> Result:
    """Trains a checked recipe; prints how it ended.

    Raises:
        ClusterError: the cluster can't be joined or is too small.
        BadInput: the output holds a run of another recipe.
    """
    name = checked.recipe.name
    local = Path(checked.output) if is_local(checked.output) else Path("runs") / name
    with connect(checked.address) as connection:
        concurrency(connection.machine, checked.ask)
        terminate_like_interrupt()
        with Progress(console, total=1) as progress:
            progress.started(name)
            result = train(checked.recipe, checked.output, lambda payload: _take(payload, local, name, progress))
            progress.ended(name, result.status, result.reason, result.seconds)
    _draw(local, name)
    for line in summary(result):
        console.print(line, highlight=False)
    console.print(f"output: {checked.output}", highlight=False, soft_wrap=True)
    return result


def _take(payload: dict[str, Any], folder: Path, name: str, progress: Progress) -> None:
    progress.reported(name, payload)
    file = folder / "metrics.jsonl"
    known = read_points(file)
    last = known[-1]["step"] if known else -1
    with file.open("a", encoding="utf-8") as stream:
        for point in payload["points"]:
            # A resumed run repeats the steps after its checkpoint, with the same values; the final point has the last step.
            if point["step"] > last or (point["step"] == last and payload.get("result")):
                stream.write(json.dumps(point) + "\n")


def read_points(file: Path) -> list[dict[str, Any]]:
    """The points of a `metrics.jsonl`; a line that a kill left half written is left out."""
    points = []
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else []:
        try:
            points.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return points


def _draw(folder: Path, name: str) -> None:
    from analysis.figures.trajectories import trajectories_png

    points = read_points(folder / "metrics.jsonl")
    multipliers, slacks = histories((point["step"], point["metrics"]) for point in points)
    if multipliers:
        (folder / "trajectories.png").write_bytes(trajectories_png(multipliers, slacks, title=name))


def summary(result: Result) -> list[str]:
    """A run's end in a few lines."""
    lines = [
        f"{result.status.replace('_', ' ')}: {result.reason}",
        f"objective {result.objective:.4g} ± {result.objective_error:.1g}",
    ]
    for name, each in result.constraints.items():
        word = "met" if each.met else "violated"
        figures = (
            f"{each.value:.4g} ≤ {each.budget:.4g}, slack {each.slack:+.3g} ± {each.slack_error:.1g}, λ {each.multiplier:.3g}"
        )
        lines.append(f"  {name}: {word} ({figures})")
    lines += [f"  {metric} {value:.4g}" for metric, value in result.metrics.items() if metric.startswith("eval/")]
    return lines
