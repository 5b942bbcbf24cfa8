"""The ratio of two measurements that took turns, with its 95 % interval."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from scipy.stats import t


def ratio(what: str, measured: Sequence[float], against: Sequence[float]) -> float:
    """The geometric mean of the rounds' ratios, printed with its interval by Student's t on their logarithms."""
    logs = [math.log(one / other) for one, other in zip(measured, against, strict=True)]
    mean, count = statistics.fmean(logs), len(logs)
    half = float(t.ppf(0.975, count - 1)) * statistics.stdev(logs) / math.sqrt(count) if count > 1 else math.inf
    print(f"{what}: {math.exp(mean):.3g} (95 % {math.exp(mean - half):.3g} to {math.exp(mean + half):.3g})")
    return math.exp(mean)
