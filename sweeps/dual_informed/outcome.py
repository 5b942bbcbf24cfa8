"""What a finished trial hands to the sampler: objective, constraint values, multipliers, and how sure it is of each.

    trial.set_user_attr("dualsweep.outcome", {"objective": 0.31, "values": {"four": 0.118}, "multipliers": {"four": 0.27}})

is what `report(trial, Outcome(0.31, {"four": 0.118}, {"four": 0.27}))` writes, in the user's own units and signs:

- `values` are of what each budget bounds. Where a budget bounds the difference to the objective (`relative_to: objective`),
  that is g - f, and the multiplier is that of the difference. The front in such budgets is convex where the absolute one
  Q is: it is the least f with Q(b + f) <= f, and both sides of that are convex in (b, f). Its slope is still -lambda, with
  lambda = mu / (1 + sum mu) of the absolute prices mu, so planes and hull hold in g - f as they stand.
- `multipliers` are the prices: >= 0 for at_most and at_least; of an equality value = c the one of f + lambda (g - c).
- `attained` is the objective that was attained, where it is not `objective`: that is moved along the trial's plane to where
  constraints whose budgets are not searched are met exactly, and a model that keeps them with room attained more. `attains` is
  false of a model that does not keep them, which attained nothing.
- errors are standard errors; left out, they are 0, and the band takes what it is told for exact. Of a mean over several
  `trainings`, alike but for their seeds, they are told by its scatter, which of few trainings is known badly.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol, Self

ATTRIBUTE = "dualsweep.outcome"


class _Trial(Protocol):
    def set_user_attr(self, key: str, value: Any) -> None: ...


@dataclass(frozen=True)
class Outcome:
    """One trial's objective, and by constraint its value and multiplier, with standard errors.

    Raises:
        ValueError: a number is not finite, an error is negative, or a constraint has no value or no multiplier.
    """

    objective: float
    values: Mapping[str, float]
    multipliers: Mapping[str, float]
    objective_error: float = 0.0
    value_errors: Mapping[str, float] = field(default_factory=dict)
    multiplier_errors: Mapping[str, float] = field(default_factory=dict)
    attained: float | None = None
    attains: bool = True
    trainings: int = 1

    def __post_init__(self) -> None:
        if set(self.values) != set(self.multipliers):
            raise ValueError(
                f"an outcome must have a value and a multiplier for each constraint, but got values of {sorted(self.values)} "
                f"and multipliers of {sorted(self.multipliers)}; give 0 for a constraint without a price"
            )
        errors = [self.objective_error, *self.value_errors.values(), *self.multiplier_errors.values()]
        numbers = [
            self.objective,
            self.objective if self.attained is None else self.attained,
            *self.values.values(),
            *self.multipliers.values(),
            *errors,
        ]
        if not all(map(math.isfinite, numbers)) or min(errors) < 0:
            raise ValueError(
                f"an outcome must hold finite numbers and errors >= 0, but got {self}; report none for a trial that failed"
            )

    def to_json(self) -> dict[str, Any]:
        """The form of the attribute."""
        plain = asdict(self)
        return {key: dict(each) if isinstance(each, Mapping) else each for key, each in plain.items()}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Self:
        """Reads the attribute; errors may be left out."""
        return cls(**plain)


def report(trial: _Trial, outcome: Outcome) -> None:
    """Writes a trial's outcome where the sampler looks for it; call it before the trial ends."""
    trial.set_user_attr(ATTRIBUTE, outcome.to_json())
