"""What a constrained step costs: 0, 3 and 50 constraints at the same batch size, and separate batches, in one run.

    python -m tests.benchmarks.bench_step_cost [--rounds 15] [--steps 20] [--batch 64]

One thread; in-process coordinator; the parts of a step that grow with the number of constraints (drawing the mixture, sums,
the dual step, the points) are all in it.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import numpy as np
import torch

from tests.benchmarks.common import digits, interleaved, loop_of, show
from tests.benchmarks.rows import holds

#: What the ratio to an unconstrained step must be.
BOUNDS = {"3 constraints": "<= 1.10", "50 constraints": "<= 1.25"}


def fifty() -> list[dict[str, Any]]:
    """Fifty overlapping subsets of 40 images each."""
    rng = np.random.default_rng(0)
    return [
        {"name": f"subset{i}", "data": {"indices": sorted(rng.choice(1797, 40, replace=False).tolist())}, "at_most": 0.5}
        for i in range(50)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch", type=int, default=64)
    options = parser.parse_args()
    torch.set_num_threads(1)
    train = {"batch_size": options.batch}
    loops = {
        "unconstrained": loop_of(digits([], train=train)),
        "3 constraints": loop_of(digits(train=train)),
        "50 constraints": loop_of(digits(fifty(), train={**train, "floor": 1})),
        "3 separate batches of 16": loop_of(digits(train={**train, "batches": "separate", "constraint_batch": 16})),
    }
    times = interleaved({name: loop.advance for name, loop in loops.items()}, options.rounds, options.steps)
    ratios = show(times, "unconstrained")
    kept = [holds(f"a step with {name}", ratios[name], bound) for name, bound in BOUNDS.items()]
    sys.exit(not all(kept))


if __name__ == "__main__":
    main()
