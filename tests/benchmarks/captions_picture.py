"""The picture of docs/captions.md: samples of the pretrained model by prompt, and of two prompts weighed.

    python -m tests.benchmarks.captions_picture runs/bench-captions docs/images/captions.png

Reads what `bench_captions` left in its output folder.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np

from dualsweep.trainer.engine.sample_command import draw, find_checkpoint, restore
from tests.benchmarks.bench_captions import PRETRAINED, PROMPTS

mpl.use("Agg")
import matplotlib.pyplot as plt

ROWS, COLUMNS = 5, 6


def picture(folder: Path, file: Path) -> None:
    """A grid of samples for each prompt, then for the composed model."""
    os.chdir(folder)  # where the runs find each other
    checkpoint = find_checkpoint(f"runs/{PRETRAINED}")
    grids = {f'"{prompt}"': draw(restore(checkpoint, prompt=prompt), ROWS * COLUMNS).numpy() for prompt in PROMPTS["concepts"]}
    grids["the first two prompts, weighed"] = np.load("concepts-0-constrained/samples.npy")
    figure, panels = plt.subplots(1, len(grids), figsize=(12, 2.9), layout="constrained")
    for axes, (title, samples) in zip(panels, grids.items(), strict=True):
        rows = samples[: ROWS * COLUMNS, 0].reshape(ROWS, COLUMNS, 32, 32).clip(-1, 1)
        axes.imshow(np.block([list(row) for row in rows]), cmap="gray", vmin=-1, vmax=1)
        axes.set_title(title, fontsize=10)
        axes.set(xticks=np.arange(1, COLUMNS) * 32, yticks=np.arange(1, ROWS) * 32)
        axes.tick_params(length=0, labelbottom=False, labelleft=False)
        axes.grid(color="#888888", linewidth=0.5)
    figure.savefig(file, dpi=130)


if __name__ == "__main__":
    picture(Path(sys.argv[1]).absolute(), Path(sys.argv[2]).absolute())
