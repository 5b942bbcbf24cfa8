"""The price of one budget at one trial, as a record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from dualsweep.analysis.prices.budgets import Loosening

#: Intervals that people see are this many standard errors either side.
SHOWN = 2.0

Verdict = Literal["agrees", "disagrees", "slack"]


@dataclass(frozen=True)
class Price:
    """The price of one budget at one trial, in units of the objective for a unit of the budget.

    `price` is the multiplier, the sum of those that share the budget, with its standard `error`; `low` and `high` are the slopes
    that the values allow (-inf and inf where open, NaN where no price at all fits them), `slope` and `slope_error` a local fit of
    theirs (NaN where too few trials are near). `verdict` is `disagrees` where the two are apart by more than noise, `slack`
    where a price stands beside room that is left. Loosening the budget by `step` buys `gain` (`gain_low` to `gain_high`, 2
    standard errors) of the objective; of an equality, raising it does.
    """

    trial_id: str
    budget: Loosening
    price: float
    error: float
    low: float
    high: float
    slope: float
    slope_error: float
    verdict: Verdict
    sentence: str = ""

    @property
    def step(self) -> float:
        return self.budget.step

    @property
    def gain(self) -> float:
        return self.price * self.step

    @property
    def gain_low(self) -> float:
        least = (self.price - SHOWN * self.error) * self.step
        return least if self.budget.kind == "equals" else max(0.0, least)

    @property
    def gain_high(self) -> float:
        return (self.price + SHOWN * self.error) * self.step

    @property
    def believed(self) -> bool:
        """Whether nothing contradicts it."""
        return self.verdict == "agrees"

    def to_json(self) -> dict[str, Any]:
        """The form of `--json` files (docs/prices.md); infinite and unknown numbers become null there."""
        names = (
            "price",
            "error",
            "low",
            "high",
            "slope",
            "slope_error",
            "verdict",
            "step",
            "gain",
            "gain_low",
            "gain_high",
            "sentence",
        )
        constraints = list(self.budget.constraints)
        return {"trial": self.trial_id, "constraints": constraints, **{name: getattr(self, name) for name in names}}
