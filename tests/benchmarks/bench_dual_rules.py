"""Dual steps until the multipliers are, and stay, within 2 % of the known ones: ascent, Newton and secant.

    python -m tests.benchmarks.bench_dual_rules [--seeds 16] [--quick]

The closed-form cases of docs/method.md against exact and lagging best responses (`follow`: the share of the way to the best
response that the primal goes in a dual step), with exact reports and with reports of 512 samples. One step size must serve every
start: no multipliers, and three times the known ones. The error is the root mean square over starts and seeds. For each rule
the best step size of a scan is shown beside what the default 0.03 needs; Newton uses it only where it knows no curvature.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np

from dualsweep.trainer.recipe.dual import Dual
from tests.trainer.dual.oracles import Oracle, alignment, minority, play

RULES: tuple[Any, ...] = ("ascent", "newton", "secant")
NEAR = 0.02
DEFAULT = 0.03
CASES: dict[str, Oracle] = {
    "Gaussian, m = 2": alignment(2),
    "Gaussian, m = 3": alignment(3),
    "minority, b = 2.5": minority(),
    "minority, b = 1.5, 2.5, 3.5": minority((1.5, 2.5, 3.5)),
}


def steps_needed(oracle: Oracle, dual: Dual, steps: int, samples: int | None, follow: float, seeds: int) -> int | None:
    """The first dual step from which the error stays within `NEAR`, or None."""
    errors = []
    for start in (np.zeros_like(oracle.solution), 3.0 * oracle.solution):
        for seed in range(seeds if samples else 1):
            states = play(oracle, dual, steps, samples=samples, follow=follow, seed=seed, start=start)
            path = np.array([state.multipliers for state in states]) - oracle.solution
            errors.append((path**2).sum(1) / (oracle.solution**2).sum())
    far = np.nonzero(np.mean(errors, axis=0) > NEAR**2)[0]
    needed = int(far[-1]) + 1 if len(far) else 0
    return needed if needed <= steps else None


def best(oracle: Oracle, rule: Any, scan: Sequence[float], *case: Any) -> tuple[int | None, float]:
    """The fewest steps over the step sizes of the scan, and that step size."""
    found = [(steps_needed(oracle, Dual(rule=rule, step_size=size), *case), size) for size in scan]
    return min(found, key=lambda each: (each[0] is None, each[0] or 0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=16)
    parser.add_argument("--quick", action="store_true", help="a third of the step sizes, without lag")
    options = parser.parse_args()
    scan = [float(size) for size in np.geomspace(0.002, 2.0, 13 if options.quick else 31)]
    columns = ("ascent, best", "at 0.03", "newton", "secant, best", "at 0.03", "ratio of best")
    print(" | ".join([f"{'case':27} {'follow':>6} {'samples':>7}", *(f"{each:>13}" for each in columns)]))
    for name, oracle in CASES.items():
        for follow, steps in ((1.0, 120),) if options.quick else ((1.0, 120), (0.3, 160)):
            for samples in (None, 512):
                row = cells(oracle, scan, (steps, samples, follow, options.seeds))
                print(" | ".join([f"{name:27} {follow:6} {samples or 'exact':>7}", *(f"{each:>13}" for each in row)]), flush=True)


def cells(oracle: Oracle, scan: Sequence[float], case: tuple[int, int | None, float, int]) -> list[str]:
    """One row of the table."""
    plain, secant = best(oracle, "ascent", scan, *case), best(oracle, "secant", scan[::3], *case)
    default = {rule: steps_needed(oracle, Dual(rule=rule, step_size=DEFAULT), *case) for rule in RULES}
    newton = default["newton"] if oracle.joint else None
    ours = [each for each in (newton, secant[0]) if each is not None]

    def shown(steps: int | None) -> str:
        return f"> {case[0]}" if steps is None else str(steps)

    return [
        f"{shown(plain[0])} ({plain[1]:.3f})", shown(default["ascent"]), shown(newton) if oracle.joint else "",
        f"{shown(secant[0])} ({secant[1]:.3f})", shown(default["secant"]),
        f"{min(ours) / plain[0]:.2f}" if ours and plain[0] else "",
    ]  # fmt: skip


if __name__ == "__main__":
    main()
