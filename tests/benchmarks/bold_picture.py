"""The picture of docs/bold.md: how often digits are drawn in bold strokes, by what was done, and samples of two of these models.

    python -m tests.benchmarks.bold_picture runs/bench-bold docs/images/bold.png

Reads what `bench_bold` left in its output folder.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np

from dualsweep.trainer.result import Result
from tests.benchmarks.bench_bold import WAYS

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

COLOURS = ("#1b3a5c", "#c9ced6", "#7f9bbd", "#e9c46a", "#eef0f3")
DRAWN = ("unconstrained", "constrained")


def bars(axes: Axes, folder: Path) -> None:
    """The mean share of each way over its seeds, with their standard deviation."""
    for height, (way, colour) in enumerate(zip(WAYS, COLOURS, strict=True)):
        files = sorted(folder.glob(f"seed-*-{way.replace(' ', '-')}/result.json"))
        results = [Result.from_json(json.loads(file.read_text())) for file in files]
        shares = 100 * np.array([result.metrics["eval/bold_share"] for result in results])
        axes.barh(height, shares.mean(), xerr=shares.std(ddof=1), color=colour, edgecolor="black", linewidth=0.6, capsize=4)
        print(f"| {way} | {shares.mean():.1f} ± {shares.std(ddof=1):.1f} % | {seeds(results)} |")
    axes.set(yticks=range(len(WAYS)), yticklabels=list(WAYS), xlabel="samples in bold strokes, %; mean ± sd of seeds")
    axes.invert_yaxis()


def seeds(results: list[Result]) -> str:
    accuracy = 100 * np.array([result.metrics["eval/accuracy"] for result in results])
    multipliers = [each.multiplier for result in results for each in result.constraints.values()]
    return f"{accuracy.mean():.1f} ± {accuracy.std(ddof=1):.1f} % | " + ", ".join(f"{each:.2f}" for each in multipliers)


def grid(axes: Axes, folder: Path, way: str) -> None:
    """Forty samples, the digits in turn."""
    samples = np.load(next(iter(sorted(folder.glob(f"seed-*-{way}/samples.npy")))))[:40, 0]
    rows = samples.reshape(4, 10, *samples.shape[1:]).clip(-1, 1)
    axes.imshow(np.block([list(row) for row in rows]), cmap="gray", vmin=-1, vmax=1)
    axes.set_title(way, fontsize=10)
    axes.set_axis_off()


def draw(folder: Path, file: Path) -> None:
    figure = plt.figure(figsize=(10, 3.6), layout="constrained")
    axes = figure.subplot_mosaic([["shares", DRAWN[0]], ["shares", DRAWN[1]]])
    bars(axes["shares"], folder)
    for way in DRAWN:
        grid(axes[way], folder, way)
    figure.savefig(file, dpi=130)


if __name__ == "__main__":
    draw(Path(sys.argv[1]), Path(sys.argv[2]))
