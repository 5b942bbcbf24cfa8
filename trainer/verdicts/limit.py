"""The end of what a multiplier can reach, and whether a run left it there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dualsweep.trainer.amortised.spread import AT_THE_END
from dualsweep.trainer.recipe.amortised import Amortised
from dualsweep.trainer.recipe.bound import RELATIVE_LIMIT
from dualsweep.trainer.recipe.dual import Dual

#: A multiplier below this is taken as zero: a thousandth of the objective's weight, which is 1.
ZERO = 1e-3
#: A multiplier above this part of its limit is there, but for rounding.
_THERE = 1 - 1e-9


@dataclass(frozen=True)
class Limit:
    """The largest multiplier that a constraint can have, and how it ended.

    own        whether it ended at that
    by_sum     whether it ended below, held by the sum over constraints relative to the objective
    raised_by  the key that the range of an amortised training ends by, where that is what holds it
    """

    largest: float
    own: bool = False
    by_sum: bool = False
    raised_by: str = ""

    @property
    def pressed(self) -> bool:
        """Whether it cannot be larger."""
        return self.own or self.by_sum

    def sentence(self, multiplier: float) -> str:
        """Where `multiplier`, which is pressed, ended."""
        if self.own:
            return f"the multiplier at its limit {self.largest:.3g}"
        return f"the multiplier at {multiplier:.3g} and the sum over relative constraints at its limit {RELATIVE_LIMIT:g}"


def limit_of(dual: Dual, relative: bool) -> float:
    """The largest value a multiplier can have (`dualsweep.trainer.dual.problem.Problem.at_limit`)."""
    return min(dual.cap, RELATIVE_LIMIT) if relative else dual.cap


def limits(
    ends: Mapping[str, float], dual: Dual, relative: Mapping[str, bool], amortised: Amortised | None = None
) -> dict[str, Limit]:  # fmt: skip
    """By constraint, for the multipliers at the end and which constraints are relative to the objective."""
    there = _THERE if amortised is None else AT_THE_END
    full = sum(end for name, end in ends.items() if relative[name]) >= RELATIVE_LIMIT * there
    reached = {}
    for name, end in ends.items():
        largest = limit_of(dual, relative[name]) if amortised is None else amortised.high_of(name, relative[name])
        own = abs(end) >= largest * there
        raised_by = "" if amortised is None or largest < amortised.range_of(name).high else f"{amortised.key_of(name)}.high"
        reached[name] = Limit(largest, own, not own and relative[name] and full and abs(end) > ZERO, raised_by if own else "")
    return reached
