"""What a constraint asks of its value, and which of it fits which dual rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Self

from pydantic import Field, FiniteFloat, model_validator

from dualsweep.trainer.config.diagnostics import RuleError
from dualsweep.trainer.recipe.base import Positive, Section
from dualsweep.trainer.recipe.dual import RELAXABLE, Dual

Sense = Literal["at_most", "at_least", "equals"]
Kind = Literal[Sense, "minimax"]
KEYS: tuple[Sense, ...] = ("at_most", "at_least", "equals")


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


def check_bounds(bounds: Mapping[str, Bound], dual: Dual, simplex: bool) -> None:
    """Refuses bounds that do not fit the dual rule or the formulation, and settings by name that do not name every constraint.

    Raises:
        ValueError: saying the key, what was received and the way out.
    """
    for position, bound in enumerate(bounds.values()):
        _fits(f"constraints.{position}", bound, dual, simplex)
    for key in ("start", "step_size"):
        _names_all(key, getattr(dual, key), list(bounds))
    _fits_as_a_whole(list(bounds.values()), dual, simplex)
    for name, bound in bounds.items():
        first = dual.start[name] if isinstance(dual.start, dict) else dual.start
        if first < 0 and bound.kind != "equals":
            raise RuleError(
                "dual.start", "must be >= 0", f"{first} for {name}", "only the multiplier of `equals` may be negative"
            )


def _fits(place: str, bound: Bound, dual: Dual, simplex: bool) -> None:
    if not simplex:
        if bound.kind == "minimax":
            raise RuleError(
                place,
                "must hold one of at_most, at_least and equals",
                "none of them",
                "write one, or use a formulation that minimises the largest value",
            )
        if bound.alpha is not None and dual.rule not in RELAXABLE:
            raise RuleError(f"{place}.alpha", "must go with a rule that relaxes", f"rule {dual.rule}", "drop alpha")
        return
    for key in (*KEYS, "relative_to", "alpha"):
        if getattr(bound, key) is not None:
            raise RuleError(
                f"{place}.{key}",
                "must be left out where the largest value is minimised",
                f"{getattr(bound, key)}",
                "that has no budget: drop it, or choose another formulation",
            )


def _names_all(key: str, value: float | dict[str, float], names: list[str]) -> None:
    if isinstance(value, dict) and set(value) != set(names):
        raise RuleError(
            f"dual.{key}", "must name every constraint", f"{sorted(value)}", f"write one number, or one for each of {names}"
        )


def _fits_as_a_whole(bounds: Sequence[Bound], dual: Dual, simplex: bool) -> None:
    if dual.alpha is not None and dual.rule not in RELAXABLE:
        raise RuleError("dual.alpha", "must go with a rule that relaxes", f"rule {dual.rule}", "drop alpha")
    if dual.rule == "resilient" and dual.alpha is None and not any(bound.alpha for bound in bounds):
        raise RuleError("dual.rule", "must have an alpha to be resilient", "none", "write dual.alpha, or use ascent")
    if not simplex:
        return
    if not bounds:
        raise RuleError("dual.rule", f"{dual.rule} must have constraints to weigh", "none", "write some, or use ascent")
    if isinstance(dual.start, dict) and abs(sum(dual.start.values()) - 1.0) > 1e-6:
        raise RuleError(
            "dual.start",
            f"must sum to 1 with rule {dual.rule}",
            f"{sum(dual.start.values()):.6g}",
            "leave it out to start from equal weights",
        )
    if not isinstance(dual.start, dict) and dual.start:
        raise RuleError("dual.start", f"must be a weight for each constraint with rule {dual.rule}", dual.start, "drop it")
