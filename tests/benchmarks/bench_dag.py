"""Detailed balance against the policy gradient at the same number of reward evaluations, on an alignment whose answer is known.

    python -m tests.benchmarks.bench_dag [--evaluations 50000] [--seeds 2]

Black-box rewards of the Gaussian in the plane (docs/method.md) with the multipliers fixed at their exact values, so that
the least Lagrangian KL - sum of lambda x reward is known. Looking ahead costs an evaluation for each of the sampler's steps, so
those variants take fewer primal steps. Printed: the KL, the rewards and how far the Lagrangian is above its least value, up to
the error of the final evaluation (about 0.01, the same draws for all variants of a seed).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from dualsweep.trainer.recipe.recipe import Recipe
from tests.known.cases import Plain, alignment, exact_alignment
from tests.known.test_answers import train

STEPS, BATCH = 10, 128
VARIANTS: dict[str, dict[str, Any]] = {
    "policy_gradient": {"gradient": "policy_gradient"},
    "dag, no look-ahead": {"gradient": "dag", "flow": {"lr": 0.005, "look_ahead": "none"}},
    "dag": {"gradient": "dag", "flow": {"lr": 0.005}},
    "dag_kl, no look-ahead": {"gradient": "dag_kl", "flow": {"lr": 0.005, "look_ahead": "none"}},
    "dag_kl": {"gradient": "dag_kl", "flow": {"lr": 0.005}},
}


def problem(start: float | dict[str, float], steps: int, seed: int, rollout: dict[str, Any]) -> Plain:
    return alignment(
        2, "black_box_", seed=seed, dual={"rule": "fixed", "start": start},
        train={"steps": steps, "lr": 0.02, "lr_schedule": "wsd", "clip": None, "ema": 0.99},
        rollout={"steps": STEPS, "batch_size": BATCH, "normalize": False, **rollout},
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evaluations", type=int, default=50_000, help="of each reward")
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    bare = problem(1.0, 1, 0, {})
    names, thresholds = ([each[key] for each in bare["constraints"]] for key in ("name", "at_least"))
    multipliers, kl = exact_alignment(bare)
    least = kl - float(multipliers @ thresholds)
    print(f"exact: KL {kl:.4f}, rewards {thresholds}, Lagrangian {least:.4f}")
    for seed in range(options.seeds):
        for name, rollout in VARIANTS.items():
            ahead = rollout["gradient"] != "policy_gradient" and rollout["flow"].get("look_ahead") != "none"
            steps = options.evaluations // (BATCH * (1 + STEPS * ahead))
            spec = problem(dict(zip(names, map(float, multipliers), strict=True)), steps, seed, rollout)
            started = time.monotonic()
            result = train(Recipe.model_validate(spec), Path(tempfile.mkdtemp(prefix="dualsweep-bench-")))
            values = np.array([each.value for each in result.constraints.values()])
            above = result.objective - float(multipliers @ values) - least
            shown = f"KL {result.objective:.4f}, rewards {values.round(3)}, Lagrangian + {above:.4f}"
            print(f"seed {seed} {name:>22}: {steps} steps, {shown}, {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
