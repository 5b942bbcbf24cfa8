"""Met and violated: how often wrong at the edge of the tolerance, and how many trials are decided beside one fixed test."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from tests.benchmarks.coverage import Row
from tests.trainer.feasibility.simulation import NOISES, decided, wrong

RUNS = 10_000
#: First stages, and as many more as a cap of 8 times them allows: the product's own by default has 2,048 draws.
FIRST = (32, 64, 128, 256)
ENDS = (256, 512, 1024, 2048)
#: 4 standard deviations of 10,000 runs above 0.05.
WRONG = 0.059


def rows(scale: float) -> Iterator[Row]:
    """Wrong verdicts by noise and number of constraints, the worst of one and of all at the edge; then the shares decided."""
    runs = max(20, int(RUNS * scale))
    for noise, m, first in product(NOISES, (1, 3, 10), FIRST):
        found = wrong(noise, m, tuple(first * times for times in (1, 2, 4, 8)), runs, seed=1000 * m + first)
        for word in ("met", "violated"):
            worst = max(found[f"wrongly {word}, {which}"] for which in ("one", "all"))
            claim = f"wrongly {word}, {m} constraints, {noise} values, first stage of {first}"
            yield Row(claim, f"≤ {WRONG}", f"{worst:.4f}", worst <= WRONG)
    for m in (1, 3, 10):
        ours, draws, theirs = decided("normal", m, ENDS, runs, seed=10 + m)
        claimed = f"{'≥' if m == 1 else '>'} {theirs:.3f} of one fixed test (Bonferroni) on as many draws"
        measured = f"{ours:.3f} on {draws / ENDS[0]:.2f} x the first stage"
        yield Row(f"trials decided, {m} constraints", claimed, measured, ours >= theirs if m == 1 else ours > theirs)
