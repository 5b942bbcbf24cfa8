"""Met and violated: how often wrong at the edge of the tolerance, and how many trials are decided beside one fixed test."""

from __future__ import annotations

from collections.abc import Iterator

from tests.benchmarks.coverage import Row
from tests.trainer.feasibility.simulation import NOISES, decided, wrong

RUNS = 10_000
#: The first stage, and as many more as a cap of 8 times it allows.
ENDS = (256, 512, 1024, 2048)
#: 4 standard deviations of 10,000 runs above 0.05.
WRONG = 0.059


def rows(scale: float) -> Iterator[Row]:
    """Wrong verdicts by noise and number of constraints, the worst of one and of all at the edge; then the shares decided."""
    runs = max(20, int(RUNS * scale))
    for noise in NOISES:
        for m in (1, 3, 10):
            found = wrong(noise, m, ENDS, runs, seed=m)
            for word in ("met", "violated"):
                worst = max(found[f"wrongly {word}, {which}"] for which in ("one", "all"))
                yield Row(f"wrongly {word}, {m} constraints, {noise} values", f"≤ {WRONG}", f"{worst:.4f}", worst <= WRONG)
    for m in (1, 3, 10):
        ours, draws, theirs = decided("normal", m, ENDS, runs, seed=10 + m)
        claimed = f"{'≥' if m == 1 else '>'} {theirs:.3f} of one fixed test (Bonferroni) on as many draws"
        measured = f"{ours:.3f} on {draws / ENDS[0]:.2f} x the first stage"
        yield Row(f"trials decided, {m} constraints", claimed, measured, ours >= theirs if m == 1 else ours > theirs)
