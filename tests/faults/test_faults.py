"""One sweep of which a process of each kind is killed, one after another: the short form of `make faults`.

The raylet's death is the GCS's to a sweep, another cluster: `make faults` has both.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.faults.__main__ import add, kept
from tests.faults.disturbing import Row, Sweep, killed, until
from tests.faults.problem import Outcome, trained_alone

pytestmark = [pytest.mark.ray, pytest.mark.slow]
KILLS = ("worker", "coordinator", "controller", "trial", "gcs", "driver")
STEPS = 300


class Killed(NamedTuple):
    """The sweep after all its kills, what it said, and how many processes were left."""

    sweep: Sweep
    outcome: Outcome
    said: str
    left: int


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Killed]:
    """Each process is killed within a second after another one has begun to train."""
    sweep, moments = Sweep(tmp_path_factory.mktemp("faults") / "sweep", "warm", steps=STEPS), random.Random(0)
    try:
        sweep.start()
        for kind in KILLS:
            killed(sweep, kind, moments.uniform(0.2, 1.0))
        until(lambda: False, sweep)
        yield Killed(sweep, Outcome.of(sweep.folder, sweep.store), (sweep.folder / "output.txt").read_text(), len(sweep.left()))
    finally:
        sweep.end()


def test_it_goes_on_by_itself_and_after_the_driver_s_death_by_the_same_command(swept: Killed) -> None:
    assert swept.sweep.process is not None and swept.sweep.process.returncode == 0, swept.said
    assert swept.sweep.commands == 2 and swept.left == 0
    assert "Ray's GCS has died; another cluster is started" in swept.said
    assert swept.said.count("its own process died") == 1 and "Traceback" not in swept.said
    assert swept.outcome.statuses == {"0000": "out_of_steps", "0001": "out_of_steps"}


def test_multipliers_and_weights_are_those_of_a_process_that_nothing_happens_to(swept: Killed, tmp_path: Path) -> None:
    weights, multipliers = trained_alone(swept.sweep.folder, tmp_path)
    assert weights == swept.outcome.weights
    assert multipliers == {trial: each["four"] for trial, each in swept.outcome.multipliers.items()}


def test_results_are_kept_and_a_line_that_was_cut_is_left_out(tmp_path: Path) -> None:
    row = Row("worker", "warm", 0, True, 0, 0, 0, 1.0, 1)
    file = tmp_path / "faults.jsonl"
    add(file, row.__dict__)
    with file.open("a") as cut:
        cut.write('{"kind": "work')
    add(file, {**row.__dict__, "seed": 1})
    assert [each.seed for each in kept(file)] == [0, 1]
