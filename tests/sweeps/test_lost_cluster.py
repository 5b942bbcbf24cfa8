"""A command whose own cluster is gone starts itself again, so often; any other is interrupted, and says how to go on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

#: A command that loses its cluster each time, whether it was its own (`own`), and that was asked to end before or not.
LOSES = """
import os, signal, sys, threading, time
from dualsweep.sweeps import interrupts, lost_cluster, typed
typed.remember()
own, asked = sys.argv[1] == "own", sys.argv[2] == "asked"
interrupts.terminate_like_interrupt()
if sys.argv[2] == "job":
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # as Ray starts it
if sys.argv[3] == "command":
    lost_cluster.may_restart()
print("begins", os.getpid(), sys.argv[4:], flush=True)
if asked:
    interrupts.asked_to_end.set()
try:
    threading.Thread(target=lost_cluster.lost, args=("the raylet has died", own)).start()
    time.sleep(2 if asked else 20)
    print("went on", flush=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def said(*words: str) -> tuple[list[str], str]:
    """What it printed, and what it told."""
    command = [sys.executable, "-c", LOSES, *words, "--set", "a=b"]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2], timeout=60)
    return ended.stdout.splitlines(), ended.stderr


def test_it_starts_again_in_its_own_place_with_its_arguments_and_then_ends() -> None:
    lines, told = said("own", "", "command")
    assert len(set(lines[:4])) == 1 and lines[0].endswith("['--set', 'a=b']") and lines[4:] == ["interrupted"]
    assert "the raylet has died; another cluster is started" in told and "(3 of 3 times)" in told
    assert told.rstrip().endswith(
        "the raylet has died: interrupted; to continue, the same command again (dualsweep own '' command --set a=b)"
    )


@pytest.mark.parametrize("words", [("joined", "", "command"), ("joined", "job", "command"), ("own", "", "library")], ids="-".join)
def test_a_cluster_that_was_joined_and_a_process_that_is_another_s_are_not_started_again(words: tuple[str, ...]) -> None:
    lines, told = said(*words)
    assert len(lines) == 2 and lines[1] == "interrupted" and told.count("the same command again") == 1


def test_what_was_asked_to_end_has_not_lost_its_cluster() -> None:
    lines, told = said("own", "asked", "command")
    assert lines[1:] == ["went on"] and not told
