"""The demo's trials: how many end met or violated at the default cap of draws, and at four times it (docs/measured.md).

Its recipe, search and tolerances, with trials placed at random as its sampler places the first ten; each is trained once, in this
process, and evaluated under both caps. What the folder holds is not done again: cut off, the same command goes on.

python -m tests.benchmarks.bench_decided [--seeds 5] [--trials 12] [--folder runs/bench-decided]
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path

import numpy as np

from dualsweep.sweeps.planning.load import load_plan
from dualsweep.sweeps.planning.plan import Plan
from dualsweep.trainer.feasibility.stages import draws_at_most
from dualsweep.trainer.feasibility.standing import Standing
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.result import Result
from dualsweep.trainer.storage import RESULT
from tests.benchmarks.common import ROOT, trained

#: What is required of all ended trials, by the cap in default caps.
REQUIRED = {1: 0.6, 4: 0.75}


def recipe_of(plan: Plan, seed: int, rng: np.random.Generator) -> Recipe:
    """One trial's, without samples, which say nothing of its constraints."""
    params = {each.name: each.kind.at(float(rng.random())) for each in plan.parameters}
    recipe = plan.trial_recipe(params)
    evaluation = recipe.evaluation.model_copy(update={"samples": 0, "metrics": []})
    return recipe.model_copy(update={"seed": seed, "evaluation": evaluation})


def capped(recipe: Recipe, times: int) -> Recipe:
    """With so many times the default cap."""
    draws = times * draws_at_most(recipe) * len(recipe.terms)
    return recipe.model_copy(update={"feasibility": recipe.feasibility.model_copy(update={"draws": draws})})


def ended(recipe: Recipe, folder: Path, times: int) -> Result:
    """The result at so many times the default cap, kept beside the checkpoint, which both caps evaluate."""
    kept = folder / f"result-{times}.json"
    if not kept.exists():
        (folder / RESULT).unlink(missing_ok=True)
        trained(capped(recipe, times), folder)
        (folder / RESULT).replace(kept)
    return Result.from_json(json.loads(kept.read_text()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--folder", type=Path, default=ROOT / "runs/bench-decided")
    options = parser.parse_args()
    plan = load_plan(ROOT / "sweeps/digits.yaml")
    tallies: dict[int, Counter[Standing]] = {times: Counter() for times in REQUIRED}
    for seed in range(options.seeds):
        rng = np.random.default_rng(seed)
        for number in range(options.trials):
            recipe, folder = recipe_of(plan, seed, rng), options.folder / f"{seed}-{number:02d}"
            for times, counts in tallies.items():
                result = ended(recipe, folder, times)
                counts[result.feasible] += result.status not in ("failed", "diverged")
                slacks = ", ".join(f"{each.slack:+.4f} ± {each.slack_error:.4f}" for each in result.constraints.values())
                print(f"{folder.name} at {times} x: {result.feasible} ({result.status}; {slacks})", flush=True)
    missed = False
    for times, counts in tallies.items():
        decided = 1.0 - counts["undecided"] / counts.total()
        missed |= decided < REQUIRED[times]
        print(f"{times} x the default cap: {decided:.0%} of {counts.total()} decided; required {REQUIRED[times]:.0%}")
    raise SystemExit(1 if missed else 0)


if __name__ == "__main__":
    main()
