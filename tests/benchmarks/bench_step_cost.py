"""What a constrained step costs: of an unconstrained one by the number of constraints, and beside what a user would write.

    python -m tests.benchmarks.bench_step_cost [--rounds 15] [--steps 10]

One thread; in-process coordinator; the parts of a step that grow with the number of constraints (drawing the mixture, sums,
the dual step, the points) are all in it. The peers (`peers.py`) neither average their weights nor clip, ours do both.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from tests.benchmarks.common import digits, interleaved, loop_of
from tests.benchmarks.peers import Problem, separate_batches, with_cooper
from tests.benchmarks.rows import STEPS, Interval

#: By the number of constraints, what the ratio to an unconstrained step must be.
BOUNDS = {1: "<= 1.05", 3: "<= 1.05", 10: "<= 1.05", 50: "<= 1.10", 200: "<= 1.20"}
#: Samples of the objective and of each constraint, and how many times faster ours must be.
PEERS: dict[str, tuple[Callable[[Problem], Callable[[], object]], int, int, str]] = {
    "separate batches": (separate_batches, 128, 64, ">= 2.0"),
    "Cooper": (with_cooper, 64, 16, ">= 1.4"),
}
#: Rounds are repeated so many times at most, until the interval is narrow enough.
MOST_REPEATS = 4


def subsets(count: int) -> list[dict[str, Any]]:
    """So many overlapping subsets of 40 images each."""
    rng = np.random.default_rng(0)
    return [
        {"name": f"subset{i}", "data": {"indices": sorted(rng.choice(1797, 40, replace=False).tolist())}, "at_most": 0.5}
        for i in range(count)
    ]


def compared(what: str, bound: str, ours: Callable[[], object], peer: Callable[[], object], options: argparse.Namespace) -> bool:
    """A row of the ratio of seconds a step: ours over the peer's where a bound is from above, else the other way round."""
    times: dict[str, list[float]] = {"ours": [], "peer": []}
    for _ in range(MOST_REPEATS):
        more = interleaved({"ours": ours, "peer": peer}, options.rounds, options.steps, warmup=5)
        for name, seconds in more.items():
            times[name] += seconds
        one, other = ("ours", "peer") if bound.startswith("<=") else ("peer", "ours")
        interval = Interval.over(times[one], times[other])
        if interval.half_width <= STEPS:
            break
    return interval.holds(what, bound, STEPS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=10)
    options = parser.parse_args()
    torch.set_num_threads(1)
    kept = []
    for name, (peer, batch, constraint_batch, bound) in PEERS.items():
        recipe = digits(train={"batch_size": batch})
        other = peer(Problem(recipe, batch, constraint_batch))
        what = f"a step of {batch} samples, 3 constraints, over {name} of {batch} and 3 x {constraint_batch}, times faster"
        kept.append(compared(what, bound, loop_of(recipe).advance, other, options))
    for count, bound in BOUNDS.items():
        constrained = loop_of(digits(subsets(count), train={"batch_size": 256 if count == 200 else 64, "floor": 1}))
        plain = loop_of(digits([], train={"batch_size": 256 if count == 200 else 64}))
        what = f"a step with {count} constraint{'s' if count > 1 else ''}, of one without"
        kept.append(compared(what, bound, constrained.advance, plain.advance, options))
    sys.exit(not all(kept))


if __name__ == "__main__":
    main()
