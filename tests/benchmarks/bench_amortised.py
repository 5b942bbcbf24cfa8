"""One amortised training against separate trainings at fixed multipliers, on the digits with classes 4, 5, 7 cut to 10 %.

    python -m tests.benchmarks.bench_amortised [--cases one three] [--steps 400] [--seeds 0] [--output runs/bench-amortised]

Separate: a training of `--steps` steps at each of K multipliers. Amortised: one of half of their total, K / 2 times as many steps
of the same batch. All are measured at the same multipliers by the same draws. Two figures, each required to be at most 2 % worse:

- the Lagrangian (f + λ·g) / (1 + Σ λ) at equal λ, the mean over the K multipliers of the excess over the separate training's,
  in parts of the front's range (the largest f of the separate points less the smallest);
- the hypervolume of the points in (f, g), for several constraints in (f, largest g), against the separate ones' worst corner.

`one`: a constraint on class 4. `three`: constraints on 4, 5 and 7, with multipliers alike and apart. Running it again continues
it; finished runs are not run again.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from dualsweep.analysis.hypervolume import hypervolume
from dualsweep.trainer.amortised.front import FILE, AmortisedFront, FrontPoint
from dualsweep.trainer.amortised.measure import measured_at
from dualsweep.trainer.config.yaml_file import load
from dualsweep.trainer.recipe.recipe import Recipe
from tests.benchmarks.common import ROOT, trained

ALLOWED = 0.02
CLASSES = {"four": 4, "five": 5, "seven": 7}
ONE: list[tuple[float, ...]] = [(0.0,), (0.03,), (0.1,), (0.3,), (1.0,), (3.0,)]
THREE: list[tuple[float, ...]] = [
    (0.0, 0.0, 0.0), (0.03, 0.03, 0.03), (0.1, 0.1, 0.1), (0.3, 0.3, 0.3), (1.0, 1.0, 1.0), (0.3, 0.0, 0.0), (0.0, 0.3, 0.1),
    (1.0, 0.1, 0.3),
]  # fmt: skip
CASES: dict[str, tuple[list[str], list[tuple[float, ...]]]] = {"one": (["four"], ONE), "three": (list(CLASSES), THREE)}


def recipe(names: list[str], seed: int, steps: int, **sections: Any) -> Recipe:
    plain: dict[str, Any] = copy.deepcopy(load(ROOT / "sweeps/recipes/digits.yaml").data)
    plain |= {"seed": seed, "checkpoint": {"every": 10**6}, **sections}
    plain["constraints"] = [{"name": name, "data": {"classes": [CLASSES[name]]}, "at_most": 0.12} for name in names]
    plain["train"] |= {"steps": steps}
    plain["evaluation"] = {"samples": 0, "loss_draws": 4096, "batch_size": 1024}
    return Recipe.model_validate(plain)


def separate(names: list[str], multipliers: tuple[float, ...], seed: int, steps: int, folder: Path) -> FrontPoint:
    start = dict(zip(names, multipliers, strict=True))
    result = trained(recipe(names, seed, steps, dual={"rule": "fixed", "start": start, "every": 5}), folder)
    values = {name: each.value for name, each in result.constraints.items()}
    errors = {name: each.slack_error for name, each in result.constraints.items()}
    return FrontPoint(start, result.objective, result.objective_error, values, errors)


def lagrangian(point: FrontPoint) -> float:
    total = point.objective + sum(point.multipliers[name] * value for name, value in point.values.items())
    return total / (1 + sum(point.multipliers.values()))


def volume(points: list[FrontPoint], reference: tuple[float, float]) -> float:
    found = [(each.objective, max(each.values.values())) for each in points]
    return hypervolume(found, ["minimize", "minimize"], reference)


def run(case: str, seed: int, steps: int, output: Path) -> bool:
    """Trains and compares; says whether both figures are reached."""
    names, multipliers = CASES[case]
    folder = output / f"{case}-{steps}-seed-{seed}"
    started = time.monotonic()
    apart = [separate(names, each, seed, steps, folder / f"separate-{k}") for k, each in enumerate(multipliers)]
    half = recipe(names, seed, steps * len(multipliers) // 2, dual={"every": 5}, amortised={"points": 32})
    trained(half, folder / "amortised")
    front = AmortisedFront.from_json(json.loads((folder / "amortised" / FILE).read_text()))
    together = measured_at(str(folder / "amortised"), np.array(multipliers))
    span = np.ptp([each.objective for each in apart])
    print(f"\n{case}, seed {seed}: {len(multipliers)} x {steps} steps against {front.steps} ({time.monotonic() - started:.0f} s)")
    print(f"{'λ':>18}  {'separate f':>10} {'largest g':>9}  {'amortised f':>11} {'largest g':>9}  {'excess of L':>11}")
    excesses = []
    for one, other in zip(apart, together, strict=True):
        excesses.append((lagrangian(other) - lagrangian(one)) / span)
        cells = " ".join(f"{each:g}" for each in one.multipliers.values())
        print(
            f"{cells:>18}  {one.objective:>10.4f} {max(one.values.values()):>9.4f}  {other.objective:>11.4f} "
            f"{max(other.values.values()):>9.4f}  {100 * excesses[-1]:>9.2f} %"
        )
    reference = (max(each.objective for each in apart), max(max(each.values.values()) for each in apart))
    before = volume(apart, reference)
    lost, dense = 1 - volume(together, reference) / before, 1 - volume(list(front.points), reference) / before
    mean = float(np.mean(excesses))
    ok = mean <= ALLOWED and lost <= ALLOWED
    print(
        f"mean excess of the Lagrangian {100 * mean:+.2f} % of the range {span:.4f} (worst {100 * max(excesses):+.2f} %); "
        f"hypervolume lost {100 * lost:+.2f} %, with all {len(front.points)} points {100 * dense:+.2f} % "
        f"(required: at most {100 * ALLOWED:g} %){'' if ok else '  MISSED'}",
        flush=True,
    )
    return ok


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--output", type=Path, default=ROOT / "runs/bench-amortised")
    options = parser.parse_args()
    reached = [run(case, seed, options.steps, options.output) for case in options.cases for seed in options.seeds]
    return 0 if all(reached) else 1


if __name__ == "__main__":
    sys.exit(main())
