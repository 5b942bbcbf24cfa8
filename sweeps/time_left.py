"""How long a sweep goes on: from how long its trials have taken so far, all of what they take and not their steps alone."""

from __future__ import annotations

import heapq
from collections.abc import Mapping


class TimeLeft:
    """Seconds until all of `total` trainings are over, with `concurrent` at a time; `now` is a clock's seconds.

    A training's turn lasts from the end that made way for it to its own: its start, training, evaluation and delivery. The first
    of each of the `concurrent` places starts processes as well, and counts only until another has ended.
    """

    def __init__(self, total: int, concurrent: int, now: float) -> None:
        self._total, self._concurrent = total, concurrent
        self._free = [now] * concurrent  # since when places are free
        self._first = concurrent
        self._begun: dict[str, tuple[float, bool]] = {}
        self._turns: dict[bool, list[float]] = {True: [], False: []}
        self._evaluations: list[float] = []

    def places(self, concurrent: int) -> None:
        """From now on there are so many places; the first training of a new one starts processes as well."""
        self._first = max(self._first, 0) + max(0, concurrent - self._concurrent)
        self._concurrent = concurrent

    def started(self, name: str, now: float) -> None:
        """A training takes the place that has been free for the shortest time, as one that follows another does at once."""
        since = self._free.pop() if self._free else now
        self._begun[name] = since, self._first > 0
        self._first -= 1

    def ended(self, name: str, now: float) -> None:
        """A training is over; one that was never seen to start took no place."""
        if name in self._begun:
            since, first = self._begun.pop(name)
            self._turns[first].append(now - since)
            self._free.append(now)

    def evaluated(self, seconds: float) -> None:
        """A training's final evaluation took so long, to the training's end."""
        self._evaluations.append(seconds)

    @property
    def evaluation(self) -> float | None:
        """Seconds that a final evaluation takes, by those that have ended; None before any has."""
        return sum(self._evaluations) / len(self._evaluations) if self._evaluations else None

    def left(self, now: float, done: int, seconds_left: Mapping[str, float | None]) -> float | None:
        """Seconds left, None before anything has ended. `seconds_left`: what each running one tells of its own end."""
        turns = self._turns[False] or self._turns[True]
        if not turns:
            return None
        turn = sum(turns) / len(turns)
        first = sum(self._turns[True]) / len(self._turns[True]) if self._turns[True] else turn
        ends = []
        for name, (since, is_first) in self._begun.items():
            usual = since + (first if is_first else turn) - now
            ends.append(max(usual, seconds_left.get(name) or 0.0, 0.0))
        ends += [0.0] * (self._concurrent - len(ends))
        heapq.heapify(ends)
        for _ in range(self._total - done - len(self._begun)):
            heapq.heapreplace(ends, ends[0] + turn)
        return max(ends)
