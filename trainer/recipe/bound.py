"""What a constraint asks of its value."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, FiniteFloat, model_validator

from dualsweep.trainer.config.diagnostics import RuleError
from dualsweep.trainer.recipe.base import Positive, Section

Sense = Literal["at_most", "at_least", "equals"]
Kind = Literal[Sense, "minimax"]
KEYS: tuple[Sense, ...] = ("at_most", "at_least", "equals")
#: The largest sum of multipliers over relative constraints. Their Lagrangian holds (1 - sum lambda) f: past 1 it would
#: reward a *worse* objective and the dual function is minus infinity, so the sum is kept inside the dual's domain.
RELATIVE_LIMIT = 0.95


class Bound(Section):
    """The bound of one constraint: `at_most`, `at_least` or `equals`, or none of them where the largest value is minimised."""

    at_most: FiniteFloat | None = Field(None, description="the budget b of g <= b, a finite number", examples=["0.12"])
    at_least: FiniteFloat | None = Field(None, description="the budget c of value >= c, a finite number", examples=["0.8"])
    equals: FiniteFloat | None = Field(None, description="the budget b of g = b, a finite number", examples=["0.12"])
    relative_to: Literal["objective"] | None = Field(
        None, description="`objective` to bound g - f instead of g: no worse than the data at large, by at most b",
        examples=["objective"],
    )  # fmt: skip
    alpha: Positive | None = Field(
        None, description="the cost of relaxing this budget: by u it costs alpha u^2 / 2; none for `dual.alpha`", examples=["2.0"]
    )

    @model_validator(mode="after")
    def _one_bound(self) -> Self:
        given = [key for key in KEYS if getattr(self, key) is not None]
        if len(given) > 1:
            raise RuleError(given[1], f"must not stand beside `{given[0]}`", "both", "keep one")
        if self.at_least is not None and self.relative_to is not None:
            raise RuleError(
                "relative_to", "must stand with `at_most` or `equals`", "`at_least`", "drop it, or bound g - f with at_most"
            )
        return self

    @property
    def kind(self) -> Kind:
        """Which bound it is; `minimax` where there is none."""
        return next((key for key in KEYS if getattr(self, key) is not None), "minimax")

    @property
    def budget(self) -> float | None:
        """The bound's number, in the user's unit."""
        return None if self.kind == "minimax" else getattr(self, self.kind)
