"""The picture and the table of docs/thresholds.md: what each threshold on brightness costs.

    python -m tests.benchmarks.thresholds_picture runs/thresholds docs/images/thresholds.png

Reads the results of the sweep sweeps/thresholds.yaml in its output folder, and prints the table.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path

import matplotlib as mpl
import numpy as np

from dualsweep.trainer.result import Result

mpl.use("Agg")
import matplotlib.pyplot as plt


def results(output: Path) -> dict[float, list[Result]]:
    """By threshold the trainings of its trial, which differ in their seeds."""
    by_threshold: dict[float, list[Result]] = defaultdict(list)
    for file in sorted(output.glob("trials/*/seed-*/result.json")):
        result = Result.from_json(json.loads(file.read_text()))
        by_threshold[result.constraints["brightness"].budget].append(result)
    return dict(sorted(by_threshold.items()))


def of(trainings: list[Result], constraint: str | None) -> np.ndarray:
    """Of each training the multiplier of a constraint, or the objective."""
    return np.array([each.constraints[constraint].multiplier if constraint else each.objective for each in trainings])


def spread(values: np.ndarray) -> str:
    return f"{values.mean():.2f} ± {values.std(ddof=1):.2f}"


def table(by_threshold: dict[float, list[Result]]) -> str:
    lines = []
    for threshold, trainings in by_threshold.items():
        met = sum(each.feasible == "met" for each in trainings)
        figures = [spread(of(trainings, each)) for each in ("brightness", "contrast", None)]
        lines.append(f"| {threshold:g} | {' | '.join(figures)} | {met} of {len(trainings)} |")
    return "\n".join(lines)


def draw(by_threshold: dict[float, list[Result]], file: Path) -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    shown = [(left, "brightness", "#c25b12", "o-"), (left, "contrast", "#7f9bbd", "s--"), (right, None, "#1b3a5c", "D-")]
    for axes, constraint, colour, style in shown:
        values = [of(trainings, constraint) for trainings in by_threshold.values()]
        means, deviations = [each.mean() for each in values], [each.std(ddof=1) for each in values]
        axes.errorbar(list(by_threshold), means, deviations, color=colour, fmt=style, capsize=4, label=f"of {constraint}")
    for axes, label in ((left, "multiplier"), (right, "KL to the pretrained model, nats")):
        axes.set(xlabel="threshold on brightness, standard deviations", ylabel=label, xticks=list(by_threshold), ylim=(0, None))
    left.legend(frameon=False, title="mean ± sd of seeds", loc="upper left")
    figure.savefig(file, dpi=130)


if __name__ == "__main__":
    found = results(Path(sys.argv[1]))
    print(table(found))
    draw(found, Path(sys.argv[2]))
