"""What a trial attained of a front over some budgets while others are fixed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from dualsweep.analysis.noise import known

#: A fixed budget that is missed by more standard errors does not hold.
_MISSED = 2.0


class _Outcome(Protocol):
    @property
    def slack(self) -> float: ...
    @property
    def slack_error(self) -> float: ...
    @property
    def multiplier(self) -> float: ...


@dataclass(frozen=True)
class Fixed:
    """How a constraint whose budget is not searched ended: slack (below 0 where it is missed), its error, the multiplier."""

    slack: float
    error: float
    multiplier: float
    equality: bool = False

    @classmethod
    def of(cls, outcome: _Outcome) -> Self:
        equality = bool(getattr(outcome, "equality", False)) or getattr(outcome, "kind", None) == "equals"
        return cls(outcome.slack, known(outcome.slack_error), outcome.multiplier, equality)

    @property
    def missed(self) -> bool:
        """Whether the constraint does not hold, beyond errors."""
        short = abs(self.slack) if self.equality else -self.slack
        return short > _MISSED * self.error + 1e-9 * max(1.0, abs(self.slack))

    @property
    def given(self) -> float:
        """What meeting it exactly costs, to first order, where it is missed within errors; room that is left gives nothing."""
        return -self.multiplier * (self.slack if self.equality else min(0.0, self.slack))


def attained_with(fixed: Sequence[Fixed], objective: float) -> float:
    """The minimised `objective` that a trial attained with every fixed constraint met; inf where one does not hold.

    It is not f - lambda . s: that is the trial's plane where these are met exactly, which lies below the front.
    """
    return math.inf if any(each.missed for each in fixed) else objective + sum(each.given for each in fixed)
