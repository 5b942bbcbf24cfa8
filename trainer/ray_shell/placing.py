"""When a training starts and on how many workers, and when it is better off on others. By what is seen of the cluster; no Ray."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

from dualsweep.trainer.recipe.run import Resources

#: Seconds between two looks at the cluster.
_LOOK = 2.0
#: Seconds that a start waits for its whole share to be free, as what was just ended gives its own back; then it takes what is.
SETTLED = 5.0
#: Seconds within which workers that seemed to fit must be placed; else their number is chosen anew.
UNPLACED = 30.0
#: Seconds that a training must have run, and must have before it, to move for more workers: a move costs some ten.
WORTH = 60.0


class Seen(Protocol):
    """What is seen of the cluster: see `dualsweep.trainer.ray_shell.places.Places`."""

    @property
    def leaving(self) -> frozenset[str]: ...

    def share(self, resources: Resources, beside: int) -> int: ...

    def fit(self, resources: Resources) -> int: ...


class Placing:
    """For one training, which is one of `beside`. `own` is the id of its process's node where that can move as well, else empty.

    `clock` gives seconds.
    """

    def __init__(
        self, resources: Resources, beside: int, look: Callable[[], Seen], own: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._resources, self._beside, self._look, self._own, self._clock = resources, beside, look, own, clock
        self._looked = self._began = clock()
        self._asked: float | None = None
        self._more = 0
        self.own_leaves = False

    def workers(self) -> int:
        """How many workers to start now; 0 where not as many as the least of an elastic training fit yet."""
        if self._resources.least == self._resources.most:
            self._began = self._clock()
            return self._resources.least  # Ray starts them once they fit
        now = self._clock()
        self._asked = now if self._asked is None else self._asked
        seen = self._seen()
        share, fit = (0, 0) if seen is None else (seen.share(self._resources, self._beside), seen.fit(self._resources))
        ready = share and (fit >= share or (fit >= self._resources.least and now - self._asked >= SETTLED))
        if ready:
            self._asked, self._began, self._more = None, now, 0
        return min(fit, share) if ready else 0

    def unplaced(self, placed: bool) -> bool:
        """Whether the number of workers is to be chosen anew, as they did not find their places."""
        elastic = self._resources.least < self._resources.most
        return elastic and not placed and self._clock() - self._began > UNPLACED

    def leaves(self, workers: int, nodes: frozenset[str], report: dict[str, Any]) -> str:
        """Why a training of so many workers, on these nodes, should save and leave for others; empty where it should stay.

        `report` is the newest of it, empty before the first.
        """
        if (now := self._clock()) - self._looked < _LOOK:
            return ""
        self._looked = now
        if (seen := self._seen()) is None:
            return ""
        self.own_leaves = bool(self._own) and self._own in seen.leaving
        if self.own_leaves or nodes & seen.leaving:
            return "a node of its is about to go"
        more = min(seen.share(self._resources, self._beside), workers + seen.fit(self._resources))
        before, self._more = self._more, more if more > workers else 0
        if before and self._more and self._is_worth_it(now, report):
            return f"{more} workers fit"
        return ""

    def _is_worth_it(self, now: float, report: dict[str, Any]) -> bool:
        step = report.get("step", 0)
        left = (report["steps"] - step) * report["seconds"] / step if step else 0.0
        return report.get("phase") == "training" and min(now - self._began, left) >= WORTH

    def _seen(self) -> Seen | None:
        try:
            return self._look()
        except Exception:  # of any kind, where Ray's GCS does not answer: the next look may tell
            return None
