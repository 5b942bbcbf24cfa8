"""What is silent is told of at 30 s, 60 s, 120 s ..., and counts as dead at 180 s; what waits for something is not dead."""

from __future__ import annotations

from dualsweep.sweeps.trials.waits import DEAD, TOLD, Waits


def test_of_what_goes_on_nothing_is_said() -> None:
    waits = Waits()
    for now in range(400):
        waits.heard("a", float(now))
        assert not waits.due(now + 0.5) and not waits.dead(now + 0.5)


def test_of_what_waits_it_is_said_for_what_and_ever_more_seldom() -> None:
    waits, said = Waits(), []
    for now in range(400):
        waits.heard("a", float(now), "2 workers")
        said += [(now, text) for _, text in waits.due(float(now))]
        assert not waits.dead(float(now))
    assert said == [(at, f"waits for 2 workers for {at} s") for at in (30, 60, 120, 240)]
    waits.heard("a", 400.0)
    assert not waits.due(400.0 + TOLD - 1), "it goes on"


def test_what_says_nothing_is_told_of_and_counts_as_dead_until_it_has_ended() -> None:
    waits = Waits()
    waits.heard("a", 0.0)
    assert waits.due(TOLD) == [("a", "nothing was heard of its process for 30 s")]
    assert not waits.dead(DEAD - 1) and waits.dead(DEAD) == ["a"]
    waits.over("a")
    assert not waits.dead(DEAD) and not waits.due(10 * DEAD)
