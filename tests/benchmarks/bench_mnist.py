"""[CDM] Fig. 1 at its own size: MNIST with the classes 4, 5, 7 cut to 10 %, against what else is done about a minority.

    python -m tests.benchmarks.bench_mnist [--seeds 0 1 2] [--samples 4000] [--ways …] [--output runs/bench-mnist] [--set KEY=…]

Trains `sweeps/recipes/mnist.yaml` by dual ascent; without constraints; with every class drawn equally often; with the constraints
at equal, fixed weights; and, as many seconds of one thread's processor as ours took, with a batch for each constraint (peers.py).
All are sampled alike and judged by one classifier, trained on all 5,000 images: class shares, their total-variation distance from
uniform, and the Fréchet distance to all images in its features. Two runs at a time; what has ended is not run again.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dualsweep.trainer.recipe.load import load_recipe
from dualsweep.trainer.recipe.recipe import Recipe
from tests.benchmarks.bench_quality import by_peer, drawn
from tests.benchmarks.common import ROOT, experiment_options, trained
from tests.benchmarks.mnist_judging import judge_and_features, judged
from tests.benchmarks.peers import separate_batches
from tests.benchmarks.rows import holds

MINORITIES = (4, 5, 7)
#: What each way changes in the recipe; the last is a peer's loop.
WAYS: dict[str, list[str]] = {
    "constrained": [],
    "unconstrained": ["constraints=[]"],
    "class-balanced": ["constraints=[]", "data.balance=true"],
    "fixed weights": ["dual.rule=fixed", "dual.start=0.25"],  # a quarter each, and a quarter of all the data's loss
    "separate batches": [],
}


def recipe_of(way: str, seed: int, samples: int, edits: Sequence[str]) -> Recipe:
    sets = [*edits, *WAYS[way], f"seed={seed}", f"evaluation.samples={samples}", "evaluation.metrics=[]"]  # judged below
    return load_recipe(ROOT / "sweeps/recipes/mnist.yaml", sets)[0]


def run(way: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """One training and what its samples are like, from its folder where it has ended."""
    torch.set_num_threads(1)
    folder = options.output / f"seed-{seed}-{way.replace(' ', '-')}"
    row = folder / "row.json"
    if not row.exists():
        recipe = recipe_of(way, seed, options.samples, options.set)
        folder.mkdir(parents=True, exist_ok=True)
        made = peers(recipe, seed, options) if way == "separate batches" else ours(recipe, folder)
        row.write_text(
            json.dumps({"way": way, "seed": seed, **with_minorities(judged(made.pop("samples"), options.output)), **made})
        )
    found: dict[str, Any] = json.loads(row.read_text())
    return found


def ours(recipe: Recipe, folder: Path) -> dict[str, Any]:
    started = time.process_time()
    result = trained(recipe, folder)
    constraints = {name: [each.slack, each.tolerance, each.multiplier] for name, each in result.constraints.items()}
    seconds = result.seconds if time.process_time() - started < 1.0 else time.process_time() - started
    return {
        "samples": torch.from_numpy(np.load(folder / "samples.npy")), "constraints": constraints, "feasible": result.feasible,
        "seconds": seconds, "steps": result.steps, "objective": result.objective,
    }  # fmt: skip


def peers(recipe: Recipe, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Separate batches, as many seconds as ours took to train: evaluation is no part of either."""
    seconds = training_seconds(recipe, run("constrained", seed, options))
    model, steps = by_peer(recipe, separate_batches, seconds)
    return {"samples": drawn(recipe, model, options.samples, seed), "seconds": seconds, "steps": steps}


def training_seconds(recipe: Recipe, row: Mapping[str, Any]) -> float:
    """The processor's seconds of the steps alone, by 50 of them timed now."""
    from tests.benchmarks.common import loop_of

    loop = loop_of(recipe)
    for _ in range(10):
        loop.advance()
    started = time.process_time()
    for _ in range(50):
        loop.advance()
    return (time.process_time() - started) / 50 * float(row["steps"])


def with_minorities(found: dict[str, Any]) -> dict[str, Any]:
    return {**found, "minorities": sum(found["shares"][digit] for digit in MINORITIES)}


def main() -> None:
    parser = experiment_options(__doc__, "bench-mnist")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    judge_and_features(options.output)
    rows: dict[tuple[str, int], dict[str, Any]] = {}
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        for seed in options.seeds:
            asked = {way: pool.submit(run, way, seed, options) for way in options.ways if way != "separate batches"}
            for way, answer in asked.items():
                rows[way, seed] = answer.result()
                print(told(rows[way, seed]), flush=True)
        for seed in options.seeds if "separate batches" in options.ways else ():
            rows["separate batches", seed] = run("separate batches", seed, options)
            print(told(rows["separate batches", seed]), flush=True)
    if set(options.ways) == set(WAYS):
        sys.exit(not all(required(rows, options.seeds)))


def told(row: Mapping[str, Any]) -> str:
    budgets = {
        name: f"slack {slack:.4f}, λ {multiplier:.2f}" for name, (slack, _, multiplier) in row.get("constraints", {}).items()
    }
    said = ", ".join(f"{name} {row[name]:.3f}" for name in ("minorities", "TV", "Fréchet"))
    return f"seed {row['seed']}, {row['way']}: {said}; {row['steps']} steps, {row['seconds']:.0f} s {budgets}"


def required(rows: Mapping[tuple[str, int], Mapping[str, Any]], seeds: Sequence[int]) -> list[bool]:
    """The rows of the issue: means over seeds; two standard errors of the difference where it is to be no worse."""

    def of(way: str, what: str) -> np.ndarray:
        return np.array([rows[way, seed][what] for seed in seeds])

    kept = []
    for what, bound in (("TV", "<= 0.25"), ("Fréchet", "<= 0.6")):
        ratio = of("constrained", what).mean() / of("unconstrained", what).mean()
        kept.append(holds(f"MNIST, {what}, of the unconstrained model's", float(ratio), bound))
        more = of("constrained", what) - of("class-balanced", what)
        errors = float(more.mean() / max(more.std(ddof=1) / np.sqrt(len(seeds)), 1e-12)) if len(seeds) > 1 else float("nan")
        kept.append(holds(f"MNIST, {what} beyond class-balanced resampling's, in standard errors", errors, "<= 2.0"))
        against = of("constrained", what).mean() / of("separate batches", what).mean()
        kept.append(holds(f"MNIST, {what} at equal seconds, of separate batches'", float(against), "<= 1.0"))
    met = sum(rows["constrained", seed]["feasible"] == "met" for seed in seeds)
    return [*kept, holds("MNIST, seeds whose stated budgets are met, share", met / len(seeds), ">= 1.0")]


if __name__ == "__main__":
    main()
