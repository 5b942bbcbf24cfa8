"""The rows of the table of benchmarks: a figure or a repeated ratio beside its bound."""

from __future__ import annotations

import json
import math
import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scipy.special import stdtrit

#: The environment variable with the file that rows are added to, for the table of them all.
ROWS = "DUALSWEEP_BENCH_ROWS"
#: Half the widest interval that counts as measured, in parts of the ratio: of steps, and of whole runs.
STEPS, RUNS = 0.02, 0.05


def holds(what: str, found: float, bound: str) -> bool:
    """Prints a figure beside its bound, `<= 1.10` or `>= 0.95`, and whether it holds. What is not a number doesn't."""
    sign, number = bound.split()
    kept = found <= float(number) if sign == "<=" else found >= float(number)
    return _told(what, f"{found:.3g}", bound, "holds" if kept else "FAILS")


def exponent(costs: Mapping[int, float]) -> float:
    """The p of cost ~ n^p, by least squares of the logarithms."""
    return statistics.linear_regression(*([math.log(number) for number in of] for of in (costs, costs.values()))).slope


def _told(what: str, measured: str, bound: str, verdict: str) -> bool:
    """Prints a row, and adds it to the file that the environment names."""
    print(f"{what}: {measured}   (required: {bound}): {verdict}", flush=True)
    kept = verdict == "holds"
    if path := os.environ.get(ROWS):
        with Path(path).open("a") as file:
            file.write(json.dumps({"what": what, "measured": measured, "bound": bound, "kept": kept}) + "\n")
    return kept


@dataclass(frozen=True)
class Interval:
    """A repeated ratio's geometric mean, and its 95 % interval by Student's t of the logarithms; without end for one alone."""

    middle: float
    half_width: float  # in parts of the ratio

    @classmethod
    def of(cls, ratios: Sequence[float]) -> Interval:
        logs, count = [math.log(ratio) for ratio in ratios], len(ratios)
        middle = statistics.fmean(logs)
        half = float(stdtrit(count - 1, 0.975)) * statistics.stdev(logs) / math.sqrt(count) if count > 1 else math.inf
        return cls(math.exp(middle), half)

    @classmethod
    def over(cls, measured: Sequence[float], against: Sequence[float]) -> Interval:
        """That of two measurements which took turns, round by round."""
        return cls.of([one / other for one, other in zip(measured, against, strict=True)])

    @property
    def low(self) -> float:
        return self.middle * math.exp(-self.half_width)

    @property
    def high(self) -> float:
        return self.middle * math.exp(self.half_width)

    def holds(self, what: str, bound: str, half_width: float) -> bool:
        """Prints the ratio beside its bound, as `holds` does; it holds where its interval reaches it and is so narrow."""
        sign, number = bound.split()
        reached = self.low <= float(number) if sign == "<=" else self.high >= float(number)
        measured = self.half_width <= half_width
        verdict = "not measured: the interval is too wide" if not measured else "holds" if reached else "FAILS"
        return _told(what, f"{self.middle:.3g} [{self.low:.3g}, {self.high:.3g}]", bound, verdict)
