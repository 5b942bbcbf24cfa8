"""What dualsweep claims of its own figures, each claim measured against a truth that is known.

A group of claims is one file here with a function `rows(scale)`: `scale` is the share of the full number of runs to take, so that
a look takes seconds. `tests.benchmarks.bench_coverage` runs all groups and prints one table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One claim: what is claimed, what was measured, whether the measurement bears it out.

    `claim` says of what in words; `claimed` and `measured` are ready to print, with units.
    """

    claim: str
    claimed: str
    measured: str
    holds: bool


#: A group's measurement: rows, yielded as they are measured.
Rows = Callable[[float], Iterator[Row]]
