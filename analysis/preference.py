"""What a user prefers among the points of a front, as the sweep's run records it (tag `dualsweep.prefer`).

    {"weights": {"objective": 1, "value/max": 2}, "scale": "range"}
    {"best": "objective", "meets": {"value/four": {"at_most": 0.1}}}

Imports nothing heavy: bad input is answered before.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from dualsweep.analysis.errors import ReviewError

#: The tag of the sweep's run.
PREFER = "dualsweep.prefer"
Scale = Literal["range", "unit"]
LimitSense = Literal["at_most", "at_least"]


@dataclass(frozen=True)
class Limit:
    """A bound on a metric, in its own unit."""

    metric: str
    sense: LimitSense
    bound: float

    def shortfall(self, value: float) -> float:
        """By how much a value misses it; 0 where it is met, inf where the value is not known."""
        if math.isnan(value):
            return math.inf
        return max(0.0, value - self.bound if self.sense == "at_most" else self.bound - value)

    def __str__(self) -> str:
        return f"{self.metric} {'≤' if self.sense == 'at_most' else '≥'} {self.bound:g}"


@dataclass(frozen=True)
class Preference:
    """Either `weights` over objectives, of values in parts of their ranges along the front (`range`) or as they are (`unit`),
    or the best of the objective `best` among the feasible trials that keep every limit of `meets`.
    """

    weights: Mapping[str, float] = field(default_factory=dict)
    scale: Scale = "range"
    best: str = ""
    meets: tuple[Limit, ...] = ()

    def __str__(self) -> str:
        if self.weights:
            unit = "in parts of the ranges" if self.scale == "range" else "in their own units"
            return ", ".join(f"{name} {weight:g}" for name, weight in self.weights.items()) + f", {unit}"
        return f"the best {self.best} with {', '.join(map(str, self.meets))}"

    def to_json(self) -> dict[str, Any]:
        """The form of the tag."""
        if self.weights:
            return {"weights": dict(self.weights), "scale": self.scale}
        return {"best": self.best, "meets": {limit.metric: {limit.sense: limit.bound} for limit in self.meets}}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Self:
        """Reads what was checked before (`dualsweep.sweeps.planning.schema.Prefer`)."""
        limits = (
            Limit(str(name), sense, float(b)) for name, bound in plain.get("meets", {}).items() for sense, b in bound.items()
        )
        weights = {str(name): float(weight) for name, weight in plain.get("weights", {}).items()}
        return cls(weights, plain.get("scale", "range"), str(plain.get("best", "")), tuple(limits))


def read_preference(text: str | None, run_id: str) -> Preference | None:
    """Reads the tag; None where there is none, or `null`, which takes back what an earlier start of the sweep said.

    Raises:
        ReviewError: it is no preference.
    """
    if text is None or text in ("", "null"):
        return None
    try:
        preference = Preference.from_json(json.loads(text))
        numbers = [*preference.weights.values(), *(limit.bound for limit in preference.meets)]
        good = (
            bool(preference.weights) != bool(preference.meets)
            and bool(preference.best) == bool(preference.meets)
            and all(map(math.isfinite, numbers))
            and preference.scale in ("range", "unit")
        )
        if (
            not good
            or any(limit.sense not in ("at_most", "at_least") for limit in preference.meets)
            or any(w < 0 for w in preference.weights.values())
        ):
            raise ValueError
    except (ValueError, TypeError, AttributeError):
        raise ReviewError(
            f'The tag dualsweep.prefer of run {run_id} must be a JSON object such as {{"weights": {{"objective": 1}}}} or '
            f'{{"best": "objective", "meets": {{"value/four": {{"at_most": 0.1}}}}}}, but got {text!r}. Correct or delete it.'
        ) from None
    return preference
