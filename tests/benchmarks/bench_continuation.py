"""What continuation saves: a front of the digits by trials that start anew, and by trials that start from their neighbours.

    python -m tests.benchmarks.bench_continuation [--budgets 1 3] [--seeds 0 1 2] [--trials 6] [--steps 1200]

Over one budget that three constraints share, and over three apart, both sweeps ask for the same Sobol budgets, with the sweep's
own study and choice of neighbours, one trial at a time, here. Compute is primal steps times batch, evaluations left out;
the first trial of the second sweep starts anew too, and counts. The recipe is the shipped one with a small perceptron, so that a
trial that starts anew takes about 4 seconds of one core.

Compared trial by trial, on the same evaluation draws, the first trials left out, which are one and the same: the objective, the
worst slack, and the objective where the budgets were met exactly, f + l . s with the mean l of both trials' multipliers, by which
a trial that landed off its budgets compares. Shown is the mean difference of a seed's trials, with its standard error over
seeds. Exits with 1 where the compute is above 0.6, or where slack or objective are worse by more than two standard errors.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor, nn

from dualsweep.sweeps.planning.load import load_plan
from dualsweep.trainer.config.yaml_file import load
from tests.benchmarks.common import ROOT
from tests.benchmarks.searching import searched

MOST = 0.6
KEYS = {1: "constraints.*.at_most", 3: "constraints.[*].at_most"}


class Small(nn.Module):
    """A perceptron over the 64 pixels and an embedding of t."""

    def __init__(self, width: int = 192, timesteps: int = 200) -> None:
        super().__init__()
        self.timesteps = timesteps
        self.layers = nn.Sequential(
            nn.Linear(64 + 16, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(),
            nn.Linear(width, 64),
        )  # fmt: skip

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        angles = (t[:, None].float() / self.timesteps) * math.pi * 2.0 ** torch.arange(-1, 7, device=x.device)
        found: Tensor = self.layers(torch.cat([x.flatten(1), angles.sin(), angles.cos()], dim=1))
        return found.view_as(x)


def small() -> nn.Module:
    """The model of the benchmark's recipe; its weights are drawn anew for each seed of a run."""
    return Small()


@dataclass(frozen=True)
class Swept:
    """One sweep's trials in order: objectives [n], slacks [n, m], multipliers [n, m], and the steps of each [n]."""

    objectives: np.ndarray
    slacks: np.ndarray
    multipliers: np.ndarray
    steps: np.ndarray


def swept(budgets: int, seed: int, trials: int, steps: int, continuation: Any) -> Swept:
    """A whole sweep of the digits in this process."""
    recipe = load(ROOT / "sweeps/recipes/digits.yaml").data
    recipe |= {"seed": seed, "model": {"call": "tests.benchmarks.bench_continuation:small"}, "checkpoint": {"every": 10**6}}
    recipe["train"] |= {"steps": steps, "ema": 0.99}
    recipe["evaluation"] = {"samples": 0, "loss_draws": 8192}
    plain = {
        "name": "digits", "recipe": recipe, "search": {KEYS[budgets]: {"uniform": [-0.06, 0.06]}},
        "sampler": {"name": "quasi_random", "seed": seed}, "trials": trials, "continuation": continuation,
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "sweep.yaml").write_text(yaml.safe_dump(plain))
        plan = load_plan(folder / "sweep.yaml")
        ended = [each.result for each in searched(plan, folder, trials)]
    ends = [list(each.constraints.values()) for each in ended]
    return Swept(
        np.array([each.objective for each in ended]), np.array([[one.slack for one in each] for each in ends]),
        np.array([[one.multiplier for one in each] for each in ends]), np.array([each.steps for each in ended]),
    )  # fmt: skip


def differences(cold: Swept, warm: Swept) -> dict[str, float]:
    """Of the continued trials to those that started anew, means over trials but the first."""
    price = (cold.multipliers + warm.multipliers) / 2
    at_budget = [each.objectives + (price * each.slacks).sum(1) for each in (cold, warm)]
    return {
        "objective": float((warm.objectives - cold.objectives)[1:].mean()),
        "objective at the budgets": float((at_budget[1] - at_budget[0])[1:].mean()),
        "worst slack": float((warm.slacks.min(1) - cold.slacks.min(1))[1:].mean()),
        "size of slacks": float((np.abs(warm.slacks) - np.abs(cold.slacks))[1:].mean()),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budgets", type=int, nargs="+", default=[1, 3], choices=KEYS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--trials", type=int, default=6)
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--continuation", type=yaml.safe_load, default=True, help="as in a sweep, e.g. '{steps: 300, lr: 1.0}'")
    options = parser.parse_args()
    torch.set_num_threads(1)
    missed = False
    for budgets in options.budgets:
        pairs = []
        for seed in options.seeds:
            cold = swept(budgets, seed, options.trials, options.steps, False)
            warm = swept(budgets, seed, options.trials, options.steps, options.continuation)
            pairs.append((cold, warm))
            for sweep, name in ((cold, "cold"), (warm, "continued")):
                shown = f"objective {sweep.objectives[1:].mean():.4f}, slacks {sweep.slacks[1:].mean():+.4f}"
                shown += f" (worst {sweep.slacks[1:].min(1).mean():+.4f}), {sweep.steps.sum()} steps"
                print(f"{budgets} budgets, seed {seed}, {name:>9}: {shown}", flush=True)
        missed |= judged(budgets, pairs)
    return int(missed)


def judged(budgets: int, pairs: list[tuple[Swept, Swept]]) -> bool:
    """Prints the comparison over seeds; whether it misses what is required."""
    share = sum(warm.steps.sum() for _, warm in pairs) / sum(cold.steps.sum() for cold, _ in pairs)
    missed = bool(share > MOST)
    print(f"{budgets} budgets: compute {share:.3f} of cold, required {MOST}{'  MISSED' if missed else ''}")
    rows = [differences(*pair) for pair in pairs]
    for name in rows[0]:
        values = np.array([row[name] for row in rows])
        mean, error = float(values.mean()), float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.nan
        worse = {"objective at the budgets": mean > 2 * error, "worst slack": mean < -2 * error}.get(name, False)
        missed |= worse
        print(f"  {name:>24}: {mean:+.4f} ± {error:.4f}{'  MISSED' if worse else ''}")
    return missed


if __name__ == "__main__":
    sys.exit(main())
