"""The points of a training that were made and whose receiver has not yet said that it keeps them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from dualsweep.trainer.metric_point import MetricPoint

#: So many points are kept for a receiver that takes none, for its disk is full, say; with more the training waits.
MOST_POINTS = 100_000


class Outbox:
    """Points in the order they were made. They stay, and go into every checkpoint, until they are acknowledged."""

    def __init__(self, points: Iterable[MetricPoint] = ()) -> None:
        self._points = deque(points)
        self._made, self._sent = len(self._points), 0

    def __len__(self) -> int:
        """How many are not acknowledged."""
        return len(self._points)

    @property
    def made(self) -> int:
        """How many there have been, those that this began with among them."""
        return self._made

    def add(self, point: MetricPoint) -> None:
        """Takes a point that was made."""
        self._points.append(point)
        self._made += 1

    def kept(self) -> list[MetricPoint]:
        """Those that are not acknowledged, sent or not."""
        return list(self._points)

    def send(self) -> list[MetricPoint]:
        """Those that were not sent; from now on they were."""
        unsent = self.kept()[len(self._points) - (self._made - self._sent) :]
        self._sent = self._made
        return unsent

    def acknowledge(self, count: int | None) -> None:
        """The first `count` of all that were made are kept by the receiver; all of them where it is None."""
        count = self._made if count is None else count
        while self._points and self._made - len(self._points) < count:
            self._points.popleft()
