"""Which constraints share a budget, so that they are loosened together, and by what round step."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dualsweep.analysis.trials import SweepRecord

_TIED = "constraints.*."
#: A step is about this part of the range.
_PART = 1 / 20
_LISTED = 3
#: Budgets that differ by less of their size are one, written down twice.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Loosening:
    """A budget as it is moved: its constraints, all of one kind, its range in their unit, and a round step of about a 20th."""

    constraints: tuple[str, ...]
    kind: str
    range: float
    step: float

    @property
    def label(self) -> str:
        """How a sentence calls it."""
        quoted = [f"`{name}`" for name in self.constraints]
        if len(quoted) == 1:
            return quoted[0]
        if len(quoted) > _LISTED:
            return f"the {len(quoted)} constraints that share a budget"
        return f"{', '.join(quoted[:-1])} and {quoted[-1]} together"


def searched_budgets(record: SweepRecord, names: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the constraints `names` whose budgets differ from trial to trial.

    The range of another's values is what noise, or another setting, made of them: no step of its budget follows from that.
    """
    budgets: dict[str, list[float]] = {name: [] for name in names}
    for trial in record.trials:
        for outcome in trial.constraints:
            budgets.get(outcome.name, []).append(outcome.budget)
    return tuple(name for name, each in budgets.items() if _span(each) > _ROUNDING * max(map(abs, each), default=0.0))


def loosenings(record: SweepRecord, priced: tuple[str, ...]) -> tuple[Loosening, ...]:
    """The budgets of the constraints `priced`: one for those that one searched parameter sets alike, one for each other."""
    kinds = {
        o.name: o.kind or {"≥": "at_least", "=": "equals"}.get(o.relation, "at_most")
        for t in record.trials
        for o in t.constraints
    }
    tied = {name.removeprefix(_TIED) for name in record.searched if name.startswith(_TIED)}
    groups: dict[tuple[str, ...], str] = {}
    for name in priced:
        kind = kinds[name]
        together = tuple(other for other in priced if kinds[other] == kind) if kind in tied and kind != "equals" else (name,)
        groups[together] = kind
    return tuple(_loosening(record, names, kind) for names, kind in groups.items())


def _loosening(record: SweepRecord, names: tuple[str, ...], kind: str) -> Loosening:
    outcomes = [outcome for trial in record.trials for outcome in trial.constraints if outcome.name in names]
    spans = [_span([outcome.budget for outcome in outcomes]), _span([outcome.value for outcome in outcomes])]
    sizes = [abs(outcome.budget) for outcome in outcomes if math.isfinite(outcome.budget)]
    span = next((each for each in (*spans, *sizes) if each > 0), 1.0)
    return Loosening(names, kind, span, round_step(span * _PART))


def _span(numbers: list[float]) -> float:
    finite = [each for each in numbers if math.isfinite(each)]
    return float(np.ptp(finite)) if finite else 0.0


def round_step(size: float) -> float:
    """1, 2 or 5 times a power of ten, the nearest by its logarithm to `size` > 0."""
    power = math.floor(math.log10(size))
    return min(
        (digit * 10.0 ** (power + more) for more in (0, 1) for digit in (1, 2, 5)), key=lambda each: abs(math.log(each / size))
    )
