"""How many of the demo's 12 trials converge: with what it ships, and with what it shipped before (docs/convergence.md).

    python -m tests.benchmarks.bench_converged [--seeds 11 12 13 14 15] [--output runs/bench-converged]

Each trial is one of `sweeps/digits.yaml` at a step size and a budget drawn at random from its search space, trained in this
process by one thread. Both sides have the same budgets and seeds, and the same place in their range of step sizes. Running it
again continues it. No choice was made on these seeds.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dualsweep.sweeps.planning.load import load_plan
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.result import Result
from tests.benchmarks.common import ROOT, trained
from tests.benchmarks.demo_store import BUDGET, STEP_SIZE
from tests.benchmarks.rows import holds

TRIALS, ENOUGH = 12, 10
SIDES = ("now", "before")
#: What the demo set before, and its range of step sizes.
BEFORE: Mapping[str, Any] = {"train.lr_cooldown": 0.4, "train.floor": 3, "dual.decay": "none", "dual.start": 0.0}
STEP_SIZES_BEFORE = (0.05, 0.5)
#: Compared between the sides, lower is better.
QUALITY = {"Fréchet distance": "eval/frechet", "TV of class shares": "eval/tv_from_uniform", "objective": "objective"}


def trials(seed: int, side: str) -> list[Recipe]:
    rng, plan = np.random.default_rng(seed), load_plan(ROOT / "sweeps/digits.yaml")
    step_sizes = plan.sweep.search[STEP_SIZE]["log_uniform"] if side == "now" else STEP_SIZES_BEFORE
    recipes = []
    for number in range(TRIALS):
        low, high = map(math.log, step_sizes)
        step_size, budget = math.exp(rng.uniform(low, high)), rng.uniform(*plan.sweep.search[BUDGET]["uniform"])
        plain = plan.trial_recipe({STEP_SIZE: step_size, BUDGET: float(budget)}).model_dump(mode="json", exclude_unset=True)
        plain["seed"] = 100 * seed + number
        for key, value in BEFORE.items() if side == "before" else ():
            section, name = key.split(".")
            plain[section][name] = value
        recipes.append(Recipe.model_validate(plain))
    return recipes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[11, 12, 13, 14, 15])
    parser.add_argument("--output", type=Path, default=ROOT / "runs/bench-converged")
    options = parser.parse_args()
    torch.set_num_threads(1)
    results: dict[str, list[list[Result]]] = {side: [] for side in SIDES}
    for side in SIDES:
        for seed in options.seeds:
            recipes = enumerate(trials(seed, side))
            results[side].append([trained(recipe, options.output / f"{side}-{seed}-{number}") for number, recipe in recipes])
            statuses = [(result.status, result.feasible) for result in results[side][-1]]
            print(f"seed {seed}, {side}: {sum(status == 'converged' for status, _ in statuses)} of {TRIALS} converged, "
                  f"{sum(feasible == 'violated' for _, feasible in statuses)} violated", flush=True)  # fmt: skip
    counts = {side: [sum(result.status == "converged" for result in sweep) for sweep in results[side]] for side in results}
    print({side: f"{np.mean(of):.1f} of {TRIALS}" for side, of in counts.items()})
    kept = [holds(f"of the demo's {TRIALS} trials converge", float(np.mean(counts["now"])), f">= {ENOUGH}")]
    for what, name in QUALITY.items():
        now, before = (np.array([result.metrics[name] for sweep in results[side] for result in sweep]) for side in SIDES)
        more, error = np.mean(now - before), np.std(now - before, ddof=1) / math.sqrt(len(now))
        print(f"{what}: {now.mean():.4f}, before {before.mean():.4f}, more by {more:+.4f} ± {error:.4f}")
        kept.append(holds(f"{what} beyond that of before, in standard errors", float(more / error), "<= 2.0"))
    sys.exit(not all(kept))


if __name__ == "__main__":
    main()
