"""A minority attribute under a class-conditional network, as in [CDM] Fig. 2: bold strokes, against what else is done about it.

    python -m tests.benchmarks.bench_bold [--seeds 1 2 3] [--samples 4000] [--output runs/bench-bold] [--set KEY=…]

Trains `sweeps/recipes/bold.yaml` by dual ascent; without constraints; with bold digits drawn as often as the others; with the
multiplier held at the weight that gives them the third of draws that they have in MNIST; and, unconstrained, on all images with
nothing cut. All are sampled alike, and the width of strokes is measured, not judged. Two runs at a time; what has ended is not
run again. The budget was chosen at seed 0. Exits with 1 where a row fails.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import torch

from dualsweep.sweeps.recipes import bold_digits
from dualsweep.trainer.recipe.load import load_recipe
from dualsweep.trainer.result import Result
from tests.benchmarks.common import ROOT, experiment_options, trained
from tests.benchmarks.rows import holds

RECIPES = ROOT / "sweeps/recipes"
CUT, WHOLE = "bold-digits", "all-digits"
#: What each way changes in the recipe. Samples have wider strokes than images, so that a model of all images is what counts.
WAYS: dict[str, list[str]] = {
    "constrained": [],
    "unconstrained": ["constraints=[]"],
    "as often as the others": ["constraints=[]", "data.balance=bold"],
    "fixed weight": ["dual.rule=fixed"],
    "nothing cut": ["constraints=[]"],
}
Results = Mapping[tuple[str, int], Result]


def run(way: str, seed: int, options: argparse.Namespace) -> Result:
    torch.set_num_threads(1)
    sys.path.insert(0, str(RECIPES))  # the recipe's metric
    edits = [*options.set, *WAYS[way], f"seed={seed}", f"evaluation.samples={options.samples}"]
    edits.append(f"data.folder={options.output / (WHOLE if way == 'nothing cut' else CUT)}")
    return trained(load_recipe(RECIPES / "bold.yaml", edits)[0], options.output / f"seed-{seed}-{way.replace(' ', '-')}")


def main() -> None:
    options = experiment_options(__doc__, "bench-bold", (1, 2, 3)).parse_args()
    options.output = options.output.absolute()
    options.output.mkdir(parents=True, exist_ok=True)
    for folder, share in ((CUT, 0.1), (WHOLE, 1.0)):
        bold_digits.main(options.output / folder, share)
    results: dict[tuple[str, int], Result] = {}
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        asked = {(way, seed): pool.submit(run, way, seed, options) for seed in options.seeds for way in WAYS}
        for key, answer in asked.items():
            results[key] = answer.result()
            print(told(*key, results[key]), flush=True)
    sys.exit(not all(required(results, options.seeds)))


def told(way: str, seed: int, result: Result) -> str:
    budgets = {name: f"slack {each.slack:.4f}, λ {each.multiplier:.3f}" for name, each in result.constraints.items()}
    keys = ("bold_share", "bold_share_least", "accuracy")
    said = ", ".join(f"{key} {result.metrics[f'eval/{key}']:.3f}" for key in keys)
    return f"seed {seed}, {way}: {said}, objective {result.objective:.4f}, {result.feasible} {budgets}"


def required(results: Results, seeds: Sequence[int]) -> list[bool]:
    """Shares of bold samples are held against those of models of all images; accuracy may be lost by two standard errors."""

    def of(way: str, key: str) -> np.ndarray:
        return np.array([results[way, seed].metrics[f"eval/{key}"] for seed in seeds])

    off = {way: np.abs(of(way, "bold_share") - of("nothing cut", "bold_share").mean()).mean() for way in WAYS}
    lost = of("unconstrained", "accuracy") - of("constrained", "accuracy")
    errors = float(lost.mean() / (lost.std(ddof=1) / len(seeds) ** 0.5))
    met = sum(results["constrained", seed].feasible == "met" for seed in seeds)
    ratio = float(off["constrained"] / off["unconstrained"])
    return [
        holds("bold digits, distance of their share from that with nothing cut, of the unconstrained's", ratio, "<= 0.25"),
        holds("bold digits, accuracy lost, in standard errors over seeds", errors, "<= 2.0"),
        holds("bold digits, seeds whose stated budget is met, share", met / len(seeds), ">= 1.0"),
    ]


if __name__ == "__main__":
    main()
