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
    @property
    def relaxation(self) -> float: ...


@dataclass(frozen=True)
class Fixed:
    """How a constraint whose budget is not searched ended: slack (below 0 where it is missed), its error, the multiplier.

    A resilient budget that has given way by u = lambda / alpha has the slack to where it stands now, and `relaxed`, the cost
    alpha u^2 / 2 = lambda u / 2 of that. The front is then that of the objective with this cost, which is what such a training
    minimises: it is convex with the slopes -lambda, while the front of the objective alone is neither.
    """

    slack: float
    error: float
    multiplier: float
    equality: bool = False
    relaxed: float = 0.0

    @classmethod
    def of(cls, outcome: _Outcome) -> Self:
        equality = bool(getattr(outcome, "equality", False)) or getattr(outcome, "kind", None) == "equals"
        slack, cost = outcome.slack + outcome.relaxation, 0.5 * outcome.multiplier * outcome.relaxation
        return cls(slack, known(outcome.slack_error), outcome.multiplier, equality, cost)

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

    It is not `along_plane`, which lies below the front.
    """
    return math.inf if any(each.missed for each in fixed) else objective + sum(each.given + each.relaxed for each in fixed)


def along_plane(fixed: Sequence[Fixed], objective: float) -> float:
    """The minimised `objective` moved along a trial's plane to where every fixed constraint is met exactly: f - lambda . s."""
    return objective + sum(each.relaxed - each.multiplier * each.slack for each in fixed)
