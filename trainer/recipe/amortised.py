"""One network for a whole range of multipliers: the range, and on how much of it the front is measured."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, FiniteFloat, model_validator

from dualsweep.trainer.config.diagnostics import RuleError
from dualsweep.trainer.recipe.base import Name, Positive, Section
from dualsweep.trainer.recipe.bound import RELATIVE_LIMIT


class Range(Section):
    """The multipliers that are drawn: evenly in log(1 + multiplier / low) from 0 to `high`, so that below `low` evenly."""

    low: Positive = Field(0.003, description="where the scale turns from even to logarithmic", examples=["0.003"])
    high: Positive = Field(3.0, description="the largest multiplier", examples=["3.0"])

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low >= self.high:
            raise RuleError("low", "must be below `high`", f"{self.low} and {self.high}", "raise `high`, or lower `low`")
        return self


class Amortised(Section):
    """Training over a range of multipliers in place of dual ascent (docs/amortised.md)."""

    multipliers: Range = Field(
        Range(), description="the range of the multipliers", examples=["{low: 0.003, high: 3.0}"]
    )  # fmt: skip
    by_constraint: dict[Name, Range] = Field(
        {}, description="ranges of single constraints, by name, that differ from it", examples=["{four: {high: 1.0}}"]
    )  # fmt: skip
    zeros: Annotated[FiniteFloat, Field(ge=0, lt=1)] = Field(
        0.1, description="the share of draws in which a constraint's multiplier is exactly 0", examples=["0.1"]
    )
    points: Annotated[int, Field(ge=3, le=512)] = Field(
        32, description="multipliers at which objective and values are measured at the end", examples=["32"]
    )

    def range_of(self, name: str) -> Range:
        """The range of one constraint's multiplier."""
        return self.by_constraint.get(name, self.multipliers)

    def key_of(self, name: str) -> str:
        """The key of that range."""
        return f"amortised.by_constraint.{name}" if name in self.by_constraint else "amortised.multipliers"

    def high_of(self, name: str, relative: bool) -> float:
        """The largest multiplier of one constraint, which may be relative to the objective."""
        high = self.range_of(name).high
        return min(high, RELATIVE_LIMIT) if relative else high
