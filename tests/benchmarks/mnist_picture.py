"""The pictures of docs/mnist.md and docs/nines.md: how often each digit is drawn, by what was done.

    python -m tests.benchmarks.mnist_picture runs/bench-mnist docs/images/mnist-shares.png "digit; of 4, 5 and 7 a tenth was left"
    python -m tests.benchmarks.mnist_picture runs/bench-nines docs/images/nines-shares.png "digit; of 9 none was pretrained on"

Reads the rows that `bench_mnist` and `bench_nines` kept in their output folders.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
import matplotlib.pyplot as plt

#: Colours and hatches that differ in greyscale too.
SHOWN = {
    "pretrained": ("#eef0f3", ".."),
    "unconstrained": ("#c9ced6", ""), "constrained": ("#1b3a5c", ""), "class-balanced": ("#7f9bbd", "//"),
    "separate batches": ("#c25b12", ".."), "fixed weights": ("#e9c46a", "xx"),
}  # fmt: skip


def draw(folder: Path, file: Path, label: str) -> None:
    """Bars of the shares of ten classes for each way, their means over seeds, with the seeds' standard deviation."""
    rows = [json.loads(path.read_text()) for path in sorted(folder.glob("seed-*/row.json"))]
    figure, axes = plt.subplots(figsize=(9, 3.8), layout="constrained")
    ways = [way for way in SHOWN if any(row["way"] == way for row in rows)]
    width = 0.8 / len(ways)
    for number, way in enumerate(ways):
        shares = 100 * np.array([row["shares"] for row in rows if row["way"] == way])
        errors = shares.std(0, ddof=1) if len(shares) > 1 else None
        seeds = f"seeds: {len(shares)}{'' if errors is None else ', ± sd'}"
        colour, hatch = SHOWN[way]
        at = np.arange(10) + (number - (len(ways) - 1) / 2) * width
        axes.bar(
            at, shares.mean(0), width, yerr=errors, label=f"{way} ({seeds})", color=colour, hatch=hatch,
            edgecolor="black", linewidth=0.4, capsize=2, error_kw={"elinewidth": 0.8},
        )  # fmt: skip
    axes.axhline(10, color="black", linestyle="--", linewidth=1, label="uniform")
    axes.set(xlabel=label, ylabel="share of samples, %", xticks=range(10))
    axes.legend(ncols=3, fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, 1.2))
    figure.savefig(file, dpi=130)


if __name__ == "__main__":
    draw(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
