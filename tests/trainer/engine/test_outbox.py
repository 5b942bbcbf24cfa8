"""Points stay until they are acknowledged, whatever is killed: each reaches its receiver once."""

from __future__ import annotations

import random
from collections import deque
from pathlib import Path
from typing import Any

import pytest

from dualsweep.sweeps.tracking.spool import Spool, points_in
from dualsweep.trainer.checkpoint import CheckpointFolder, read
from dualsweep.trainer.dual.coordinator import InProcess
from dualsweep.trainer.engine import loop
from dualsweep.trainer.engine.dual_side import controller_of
from dualsweep.trainer.engine.host import LocalHost
from dualsweep.trainer.engine.outbox import Outbox
from dualsweep.trainer.engine.worker import run_worker
from dualsweep.trainer.metric_point import MetricPoint, Payload
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.storage import RESULT
from tests.trainer.recipes import digits

STEPS = 16


def quick() -> Recipe:
    """A training with a point at each of its steps, and a checkpoint at every second."""
    return digits(train={"steps": STEPS, "log_every": 1}, checkpoint={"every": 2}, evaluation={"samples": 0, "metrics": []})


class Killed(Exception):
    pass


class Lagging(LocalHost):
    """Reports wait in a queue, as on a cluster; the receiver takes some of them now and then, and says so."""

    def __init__(self, recipe: Recipe, folder: Path, seed: int, kill_at: int | None) -> None:
        super().__init__(InProcess(controller_of(recipe)), CheckpointFolder(str(folder / "checkpoints")))
        self._random, self._kill_at = random.Random(seed), kill_at
        self._spool, self._queue, self._taken = Spool(folder / "spool.jsonl"), deque[Payload](), 0

    def report(self, payload: Payload) -> int:
        self._queue.append(payload)
        if self._kill_at is not None and payload["step"] >= self._kill_at:
            raise Killed
        for _ in range(min(len(self._queue), self._random.randrange(3))):
            taken = self._queue.popleft()
            for point in map(MetricPoint.from_json, taken["points"]):
                self._spool.point(point.step, point.metrics, final=point.final)
            self._taken = taken["made"]
        return self._taken


@pytest.mark.parametrize("seed", range(2))
def test_whatever_is_killed_each_step_is_there_once(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "TIMED_STEPS", 3)
    monkeypatch.setattr(loop, "REPORT_SECONDS", 0.0)  # so a report every fourth step, every second checkpoint without one
    recipe, drawn = quick(), random.Random(seed)
    for kill_at in sorted(drawn.sample(range(2, STEPS), 3)):
        host = Lagging(recipe, tmp_path, drawn.randrange(99), kill_at)
        with pytest.raises(Killed):
            run_worker(recipe, host, str(tmp_path), str(tmp_path.parent / "judges"))
        host.checkpoints.flush()
    run_worker(recipe, Lagging(recipe, tmp_path, seed, None), str(tmp_path), str(tmp_path.parent / "judges"))
    points = points_in(tmp_path / "spool.jsonl")
    assert [point.step for point in points if not point.final] == list(range(1, STEPS + 1))


def test_a_result_is_written_once_all_points_but_the_final_one_are_kept(tmp_path: Path) -> None:
    recipe = quick()
    seen: list[tuple[int, bool]] = []

    class Late(LocalHost):
        def report(self, payload: Payload) -> int:
            asked = len(seen)
            seen.append((payload["made"], (tmp_path / RESULT).exists()))
            return payload["made"] if asked > 6 else 3

    run_worker(recipe, Late(InProcess(controller_of(recipe)), CheckpointFolder(str(tmp_path / "c"))), str(tmp_path))
    *before, last = seen
    assert last == (STEPS + 1, True) and len(before) > 6 and not any(written for _, written in before)


def test_a_checkpoint_has_what_is_not_acknowledged_and_no_more(tmp_path: Path) -> None:
    recipe = quick()

    class Slow(LocalHost):
        def report(self, payload: Payload) -> int | None:
            return 3 if payload["step"] < STEPS else None

    checkpoints = CheckpointFolder(str(tmp_path / "c"), keep=20)
    run_worker(recipe, Slow(InProcess(controller_of(recipe)), checkpoints), str(tmp_path))
    kept: dict[int, Any] = {step: read(checkpoints.path(step)).state["points"] for step in (8, 12, 16)}
    steps = {step: [point["step"] for point in points] for step, points in kept.items()}
    assert steps == {8: list(range(1, 9)), 12: list(range(4, 13)), 16: list(range(4, 17))}


def test_it_is_a_queue_of_which_each_point_is_sent_once_and_kept_until_it_is_acknowledged() -> None:
    drawn = random.Random(0)
    made, sent, acknowledged = [MetricPoint(step, {}) for step in range(5)], 0, 0
    box = Outbox(made)
    for _ in range(300):
        what = drawn.randrange(3)
        if what == 0:
            made.append(MetricPoint(len(made), {}))
            box.add(made[-1])
        elif what == 1:
            assert box.send() == made[sent:]
            sent = len(made)
        else:
            acknowledged = drawn.randint(acknowledged, max(sent, acknowledged))
            box.acknowledge(acknowledged)
        assert box.kept() == made[acknowledged:] and len(box) == len(made) - acknowledged and box.made == len(made)
    box.acknowledge(None)
    assert not box.kept()
