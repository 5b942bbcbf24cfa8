"""How long nothing was heard of each running training, what it waits for, and when its process counts as dead. No Ray."""

from __future__ import annotations

from dataclasses import dataclass, replace

#: Seconds without a word, or of waiting, after which the driver says so, and again after twice as many.
TOLD = 30.0
#: Seconds without a word after which a training's own process, which says something every second, counts as dead: between two
#: words it may have to end one slot and to start another.
DEAD = 180.0

#: Seconds within which a training finds its places where there are enough.
PLACED = 20.0


@dataclass(frozen=True)
class _Heard:
    at: float
    waits: str
    since: float
    told: float


class Waits:
    """What was heard of each training, by any key. Times are seconds of one clock."""

    def __init__(self) -> None:
        self._heard: dict[str, _Heard] = {}

    def heard(self, key: str, now: float, waits: str = "") -> None:
        """A training has begun or said something: that it waits for something, or, where that is empty, that it goes on."""
        before = self._heard.get(key)
        if before is not None and waits and before.waits == waits:
            self._heard[key] = replace(before, at=now)
        else:
            self._heard[key] = _Heard(now, waits, now, TOLD)

    def over(self, key: str) -> None:
        """A training has ended, or its process has."""
        self._heard.pop(key, None)

    def due(self, now: float) -> list[tuple[str, str]]:
        """Of which trainings it is time to say what they wait for, and that in words."""
        said = []
        for key, last in self._heard.items():
            if (silent := now - last.since) >= last.told:
                what = f"waits for {last.waits}" if last.waits else "nothing was heard of its process"
                said.append((key, f"{what} for {silent:.0f} s"))
                self._heard[key] = replace(last, told=2 * last.told)
        return said

    def for_places(self, now: float) -> list[str]:
        """The trainings that have waited for something for `PLACED`, those of the shortest wait first."""
        waiting = [(now - last.since, key) for key, last in self._heard.items() if last.waits]
        return [key for seconds, key in sorted(waiting) if seconds >= PLACED]

    def dead(self, now: float) -> list[str]:
        """The trainings of which nothing was heard for so long that their process counts as dead."""
        return [key for key, last in self._heard.items() if now - last.at >= DEAD]
