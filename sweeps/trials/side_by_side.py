"""How many trainings run side by side: as many as fit, while nodes join and leave. No Ray."""

from __future__ import annotations

import time
from collections.abc import Callable

from dualsweep.cluster.errors import ClusterError
from dualsweep.cluster.resources import Plan

#: Seconds between two measurements.
INTERVAL = 5.0


class SideBySide:
    """`measure` counts what fits now, of which there are at most `most`; `told` hears of another number, with the reason.

    It is never less than one: where none fits, one waits for its place, and says so. `clock` gives seconds.
    """

    def __init__(
        self, first: Plan, measure: Callable[[], Plan], most: int, told: Callable[[int, str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._measure, self._most, self._told, self._clock = measure, most, told, clock
        self._now, self._measured = self._of(first), clock()

    def now(self) -> int:
        """The number; it is measured anew where that is due."""
        if self._clock() - self._measured >= INTERVAL:
            self._measured = self._clock()
            self._take()
        return self._now

    def _take(self) -> None:
        try:
            plan = self._measure()
        except ClusterError as error:
            plan = Plan(1, "none", f"{error.rule}, but there is {error.received}")
        except Exception:  # of any kind, where Ray's GCS does not answer: what was measured last holds
            return
        before, self._now = self._now, self._of(plan)
        if self._now != before:
            self._told(self._now, plan.reason)

    def _of(self, plan: Plan) -> int:
        return max(1, min(plan.concurrent, self._most))
