"""The time left is told within 20 % from the third ended trial on, of sweeps whose ends are known; of the last two turns within a
third of a turn, as no mean of others knows it better."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dualsweep.sweeps.time_left import TimeLeft

RECORDED = sorted((Path(__file__).parent / "recorded").glob("*.json"))
#: Names, events and seconds: ["0003", "started", 12.5].
Event = tuple[str, str, float]


def told(events: list[Event], total: int, concurrent: int) -> list[tuple[float, float]]:
    """At each end from the third on but the last: the seconds that were told, and those that it took."""
    clock, done, estimates = TimeLeft(total, concurrent, 0.0), 0, []
    last = max(at for *_, at in events)
    running: set[str] = set()
    for name, what, at in events:
        if what == "started":
            running.add(name)
            clock.started(name, at)
            continue
        running.discard(name)
        done += 1
        clock.ended(name, at)
        left = clock.left(at, done, dict.fromkeys(running))
        assert left is not None
        if 3 <= done < total:
            estimates.append((left, last - at))
    return estimates


@pytest.mark.parametrize("file", RECORDED, ids=lambda file: file.stem)
def test_recorded_sweeps(file: Path) -> None:
    plain = json.loads(file.read_text())
    ends = [at for _, what, at in plain["events"] if what == "ended"]
    turn = plain["concurrent"] * (ends[-1] - ends[0]) / (plain["total"] - 1)
    for left, took in told([(name, what, at) for name, what, at in plain["events"]], plain["total"], plain["concurrent"]):
        assert abs(left - took) <= (0.2 * took if took >= 2 * turn else turn / 3), (left, took)


def simulated(turns: list[float], concurrent: int, start: float) -> list[Event]:
    """Trials that take their turns one after another in `concurrent` places, each of which first starts for so long."""
    free, events = [0.0] * concurrent, list[Event]()
    for number, turn in enumerate(turns):
        place = int(np.argmin(free))
        events.append((f"{number:04d}", "started", free[place]))
        free[place] += turn + (start if number < concurrent else 0.0)
        events.append((f"{number:04d}", "ended", free[place]))
    return sorted(events, key=lambda event: (event[2], event[1] != "ended"))


@pytest.mark.parametrize("concurrent", [1, 2, 4])
@pytest.mark.parametrize("start", [0.0, 16.0])
def test_trials_of_equal_length_are_foretold(concurrent: int, start: float) -> None:
    """However long the first of each place takes, once one has ended that was not."""
    events = simulated([10.0] * 13, concurrent, start)
    for left, took in told(events, 13, concurrent)[max(0, concurrent - 2) :]:
        assert left == pytest.approx(took, rel=1e-9)


def test_nothing_is_told_before_an_end_and_what_took_no_place_moves_nothing() -> None:
    clock = TimeLeft(3, 1, 0.0)
    clock.started("0000", 0.0)
    assert clock.left(5.0, 0, {}) is None
    clock.ended("0000", 10.0)
    assert clock.left(10.0, 1, {}) == 20.0
    clock.ended("0001", 10.0)
    assert clock.left(10.0, 2, {}) == 10.0


def test_a_slow_trial_is_not_said_to_be_over_and_its_own_pace_is_believed() -> None:
    clock = TimeLeft(2, 1, 0.0)
    for name, at in (("0000", 0.0), ("0001", 10.0)):
        clock.started(name, at)
        if name == "0000":
            clock.ended(name, 10.0)
    assert clock.left(30.0, 1, {"0001": None}) == 0.0
    assert clock.left(30.0, 1, {"0001": 7.0}) == 7.0


def test_places_that_join_and_go_count_from_then_on() -> None:
    """Eight trainings of 10 s each: after two of one place, six of two places, or of three, or of one again."""
    clock = TimeLeft(8, 1, 0.0)
    for number in range(2):
        clock.started(str(number), 10.0 * number)
        clock.ended(str(number), 10.0 * (number + 1))
    told = []
    for places in (1, 2, 3, 1):
        clock.places(places)
        told.append(clock.left(20.0, 2, {}))
    assert told == [60.0, 30.0, 20.0, 60.0]


def test_the_first_training_of_a_place_that_joins_says_nothing_of_those_that_follow() -> None:
    """As it starts processes: 10 s each, and 40 s once."""
    clock = TimeLeft(6, 1, 0.0)
    for number in range(2):
        clock.started(str(number), 10.0 * number)
        clock.ended(str(number), 10.0 * (number + 1))
    clock.places(2)
    clock.started("2", 20.0)
    clock.ended("2", 60.0)
    clock.places(1)
    assert clock.left(60.0, 3, {}) == 30.0
