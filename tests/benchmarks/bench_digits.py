"""Constrained against unconstrained training on the digits with classes 4, 5, 7 cut to 10 %: the README's first pictures.

    python -m tests.benchmarks.bench_digits [--seeds 0 1 2] [--output runs/bench-digits] [--figure docs/images/class-shares.png]

Trains `sweeps/recipes/digits.yaml` by dual ascent, and the same recipe without constraints for the same number of steps,
on a local Ray, two runs at a time. Prints, for each seed: the shares of the three classes by the run's own judge and (an
independent one) by scikit-learn's support vector machine; the total-variation distance from uniform; the Fréchet distance.
Running it again continues it; finished runs are not run again.
"""

from __future__ import annotations

import argparse
import copy
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from dualsweep.trainer.config.yaml_file import load
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.result import Result
from tests.benchmarks.rows import holds

ROOT = Path(__file__).parent.parent.parent
MINORITIES = (4, 5, 7)


def recipe(seed: int, constrained: bool) -> Recipe:
    plain: dict[str, Any] = copy.deepcopy(load(ROOT / "sweeps/recipes/digits.yaml").data)
    plain["seed"] = seed
    if not constrained:
        plain["constraints"] = []
    return Recipe.model_validate(plain)


def svm_classes(samples: np.ndarray) -> np.ndarray:
    """The classes [N] of samples by a support vector machine trained on all the digits."""
    from sklearn.datasets import load_digits
    from sklearn.svm import SVC

    digits = load_digits()
    machine = SVC(gamma=0.001).fit(digits.data, digits.target)
    predicted: np.ndarray = machine.predict((samples.reshape(len(samples), -1) + 1) * 8)
    return predicted


def svm_shares(samples: np.ndarray) -> np.ndarray:
    """Their class shares [10]."""
    predicted = svm_classes(samples)
    return np.bincount(predicted, minlength=10) / len(predicted)


def picture(samples: np.ndarray, path: Path) -> None:
    """The first 50 samples, those framed that the support vector machine takes for one of the minorities."""
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(5.0, 2.5), dpi=150)
    panels = drawing.subplots(
        5, 10, gridspec_kw={"wspace": 0.12, "hspace": 0.12, "left": 0.01, "right": 0.99, "top": 0.99, "bottom": 0.01}
    )
    for panel, sample, label in zip(panels.flat, samples[:50, 0], svm_classes(samples[:50]), strict=True):
        panel.imshow(sample, cmap="gray_r", vmin=-1, vmax=1, interpolation="nearest")
        panel.set(xticks=[], yticks=[])
        for side in panel.spines.values():
            side.set(color="#d1495b" if label in MINORITIES else "#dddddd", linewidth=2.2 if label in MINORITIES else 0.5)
    drawing.savefig(path)


def judged(result: Result, folder: Path) -> dict[str, Any]:
    metrics = result.metrics
    own = np.array([metrics[f"eval/share/{label}"] for label in range(10)])
    other = svm_shares(np.load(folder / "samples.npy"))
    return {
        "status": result.status, "feasible": result.feasible, "shares": own, "minorities": own[list(MINORITIES)].sum(),
        "minorities by SVM": other[list(MINORITIES)].sum(), "TV": metrics["eval/tv_from_uniform"],
        "TV by SVM": 0.5 * np.abs(other - 0.1).sum(), "FD": metrics["eval/frechet"], "objective": result.objective,
        "multipliers": [each.multiplier for each in result.constraints.values()], "copied": metrics["eval/copied_share"],
        "slacks": [each.slack for each in result.constraints.values()], "seconds": result.seconds,
    }  # fmt: skip


def figure(rows: dict[tuple[int, bool], dict[str, Any]], path: Path) -> None:
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(7.2, 3.4), layout="constrained", dpi=150)
    axes = drawing.add_subplot()
    for place, (constrained, colour, hatch, label) in enumerate(
        [(False, "#bdbdbd", "", "unconstrained"), (True, "#20639b", "//", "constrained (dual ascent)")]
    ):
        shares = 100 * np.stack([row["shares"] for (_, kind), row in rows.items() if kind == constrained])
        at = np.arange(10) + 0.4 * (place - 0.5)
        low_high = np.abs(np.stack([shares.min(0), shares.max(0)]) - shares.mean(0))
        axes.bar(at, shares.mean(0), 0.4, yerr=low_high, color=colour, hatch=hatch, edgecolor="black", linewidth=0.6,
                 capsize=2, error_kw={"linewidth": 0.8}, label=label)  # fmt: skip
    axes.axhline(10, color="black", linewidth=0.8, linestyle=":", label="uniform")
    axes.set_xticks(range(10), [f"{label}*" if label in MINORITIES else str(label) for label in range(10)])
    axes.set_xlabel("class of the digit (* cut to 10 % of its images)")
    axes.set_ylabel("share of the samples (%)")
    axes.set_title(f"Class shares of 1,000 samples, mean and range over {len(rows) // 2} seeds", fontsize=10)
    axes.legend(fontsize=8, frameon=False, ncols=3)
    axes.set_ylim(0, axes.get_ylim()[1] * 1.12)
    path.parent.mkdir(parents=True, exist_ok=True)
    drawing.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--output", type=Path, default=ROOT / "runs/bench-digits")
    parser.add_argument("--figure", type=Path, default=ROOT / "docs/images/class-shares.png")
    options = parser.parse_args()
    from dualsweep.cluster.connection import connect
    from dualsweep.trainer.ray_shell.launch import train

    def one(key: tuple[int, bool]) -> tuple[tuple[int, bool], dict[str, Any]]:
        seed, constrained = key
        folder = options.output / f"seed-{seed}-{'constrained' if constrained else 'unconstrained'}"
        row = judged(train(recipe(seed, constrained), str(folder)), folder)
        print(
            folder.name,
            {name: np.round(value, 4).tolist() if not isinstance(value, str | bool) else value for name, value in row.items()},
        )
        return key, row

    with connect("local"), ThreadPoolExecutor(2) as pool:
        rows = dict(pool.map(one, [(seed, constrained) for seed in options.seeds for constrained in (False, True)]))
    print(f"\n{'seed':>10} {'minorities %':>24} {'by SVM %':>24} {'TV':>20} {'TV ratio':>9} {'FD':>20} {'FD ratio':>9}")
    ratios = []
    for seed in options.seeds:
        free, bound = rows[seed, False], rows[seed, True]
        ratios.append((bound["minorities"], bound["TV"] / free["TV"], bound["FD"] / free["FD"]))
        percent = {name: [100 * row[name] for row in (free, bound)] for name in ("minorities", "minorities by SVM")}
        cells = [f"{each[0]:>10.1f} → {each[1]:>10.1f}" for each in percent.values()]
        cells += [f"{free['TV']:>8.3f} → {bound['TV']:>8.3f} {ratios[-1][1]:>9.2f}"]
        cells += [f"{free['FD']:>8.2f} → {bound['FD']:>8.2f} {ratios[-1][2]:>9.2f}"]
        print(f"{seed:>10} " + " ".join(cells))
    mean, spread = np.mean(ratios, axis=0), np.std(ratios, axis=0, ddof=1) if len(ratios) > 1 else np.zeros(3)
    print(
        f"mean ± sd over seeds: minorities {100 * mean[0]:.1f} ± {100 * spread[0]:.1f} %, "
        f"TV ratio {mean[1]:.2f} ± {spread[1]:.2f}, FD ratio {mean[2]:.2f} ± {spread[2]:.2f}"
    )
    figure(rows, options.figure)
    for name, kind in (("before", "unconstrained"), ("after", "constrained")):
        samples = np.load(options.output / f"seed-{options.seeds[0]}-{kind}" / "samples.npy")
        picture(samples, options.figure.with_name(f"digits-{name}.png"))
    rules = zip(("minorities, %", "TV ratio", "FD ratio"), mean * (100, 1, 1), (">= 25", "<= 0.33", "<= 0.40"), strict=True)
    kept = [holds(*rule) for rule in rules]
    sys.exit(not all(kept))


if __name__ == "__main__":
    main()
