"""[CDM] Fig. 4 at its own size: a model of MNIST without the 9s learns them, with and without the constraint not to forget.

    python -m tests.benchmarks.bench_nines [--seeds 0 1 2] [--samples 4000] [--output runs/bench-nines] [--set KEY=…]

Pretrains `sweeps/recipes/mnist-pretraining.yaml` once and fine-tunes it by `mnist-fine-tuning.yaml`, by dual ascent and with its
multiplier held at 0. All are sampled alike and judged by one classifier: class shares, and the Fréchet distance to all images
in its features. Two runs at a time; what has ended is not run again. Exits with 1 where a row fails.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np
import torch

from dualsweep.trainer.recipe.load import load_recipe
from tests.benchmarks.common import ROOT, experiment_options, trained
from tests.benchmarks.mnist_judging import judge_and_features, judged
from tests.benchmarks.rows import holds

RECIPES = ROOT / "sweeps/recipes"
WAYS = {"constrained": [], "unconstrained": ["dual.rule=fixed"]}


def pretrained(options: argparse.Namespace) -> dict[str, Any]:
    return run("pretrained", "mnist-pretraining.yaml", 0, [], options)


def fine_tuned(way: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    edits = [*options.set, *WAYS[way], f"model.load={options.output / 'seed-0-pretrained'}"]
    return run(way, "mnist-fine-tuning.yaml", seed, edits, options)


def run(way: str, file: str, seed: int, edits: Sequence[str], options: argparse.Namespace) -> dict[str, Any]:
    """One training and what its samples are like, from its folder where it has ended."""
    torch.set_num_threads(1)
    folder = options.output / f"seed-{seed}-{way}"
    row = folder / "row.json"
    if not row.exists():
        common = [f"seed={seed}", f"evaluation.samples={options.samples}", "evaluation.metrics=[]"]  # judged here
        folder.mkdir(parents=True, exist_ok=True)
        result = trained(load_recipe(RECIPES / file, [*edits, *common])[0], folder)
        constraints = {name: [each.slack, each.tolerance, each.multiplier] for name, each in result.constraints.items()}
        told = {"constraints": constraints, "feasible": result.feasible, "objective": result.objective, "steps": result.steps}
        samples = torch.from_numpy(np.load(folder / "samples.npy"))
        row.write_text(json.dumps({"way": way, "seed": seed, **judged(samples, options.output), **told}))
    found: dict[str, Any] = json.loads(row.read_text())
    return found


def main() -> None:
    options = experiment_options(__doc__, "bench-nines").parse_args()
    options.output = options.output.absolute()
    options.output.mkdir(parents=True, exist_ok=True)
    judge_and_features(options.output)
    print(told(pretrained(options)), flush=True)
    rows: dict[tuple[str, int], dict[str, Any]] = {}
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        asked = {(way, seed): pool.submit(fine_tuned, way, seed, options) for seed in options.seeds for way in WAYS}
        for key, answer in asked.items():
            rows[key] = answer.result()
            print(told(rows[key]), flush=True)
    sys.exit(not all(required(rows, options.seeds)))


def told(row: Mapping[str, Any]) -> str:
    budgets = {name: f"slack {slack:.4f}, λ {price:.2f}" for name, (slack, _, price) in row["constraints"].items()}
    shares = " ".join(f"{100 * share:.1f}" for share in row["shares"])
    said = f"shares {shares} %, Fréchet {row['Fréchet']:.3f}, loss {row['objective']:.4f}"
    return f"seed {row['seed']}, {row['way']}: {said} {budgets}"


def required(rows: Mapping[tuple[str, int], Mapping[str, Any]], seeds: Sequence[int]) -> list[bool]:
    """What is asked of the means over seeds, but for the old classes and the budget: of each seed."""
    frechet = {way: np.mean([rows[way, seed]["Fréchet"] for seed in seeds]) for way in WAYS}
    least = min(min(rows["constrained", seed]["shares"][:9]) for seed in seeds)
    met = sum(rows["constrained", seed]["feasible"] == "met" for seed in seeds)
    return [
        holds(
            "fine-tuning to 9s, Fréchet, of the unconstrained model's",
            frechet["constrained"] / frechet["unconstrained"],
            "<= 0.5",
        ),
        holds("fine-tuning to 9s, the least share of an old class", least, ">= 0.05"),
        holds("fine-tuning to 9s, seeds whose stated budget is met, share", met / len(seeds), ">= 1.0"),
    ]


if __name__ == "__main__":
    main()
