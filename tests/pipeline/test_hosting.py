"""Warm-hosted trainings: one after another in the same processes, as safe as in processes of their own."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray

from dualsweep.cluster.connection import connect
from dualsweep.trainer.checkpoint import CheckpointFolder
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.ray_shell.job import Job, job_for, result_in
from dualsweep.trainer.ray_shell.slot import FRESH, Renewal, Slots
from dualsweep.trainer.ray_shell.training_handle import Training
from dualsweep.trainer.recipe.recipe import Recipe
from tests.pipeline.conftest import RECIPE, ray_process, running_in, trained_here, working_directory

pytestmark = [pytest.mark.ray, pytest.mark.slow]

#: One that keeps 200 MB more with each training, and one that imports a module of the user's.
MORE = """
import os
from pathlib import Path
import parts

kept = []

def leaks():
    kept.append(os.urandom(1 << 20) * 200)
    return parts.Small()

def edited():
    import width
    with Path("widths").open("a") as widths:
        widths.write(f"{os.getpid()} {width.WIDTH}\\n")
    return parts.Small()
"""


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working directory with the user's parts, on a Ray of two CPUs."""
    before = Path.cwd()
    with working_directory(tmp_path_factory.mktemp("hosting")) as made:
        (made / "more.py").write_text(MORE)
        os.chdir(made)
        try:
            with connect("local"):
                yield made
        finally:
            os.chdir(before)


@pytest.fixture(scope="module")
def slots(there: Path) -> Iterator[Slots]:
    """What one test leaves to the next: a slot that is there, or is not."""
    made = Slots(Renewal())
    yield made
    made.end()


def job(name: str, model: str = "parts:good", workers: int = 1, **changes: Any) -> Job:
    """A training of 60 steps with no more evaluation than must be."""
    quick = {"evaluation": {"samples": 0, "loss_draws": 16, "metrics": []}, "resources": {"workers": workers}}
    recipe = Recipe.model_validate({**RECIPE, "model": {"call": model}, **quick, **changes})
    return job_for(recipe, f"out/{name}", "judges")


def points_of(slots: Slots, job: Job) -> list[dict[str, Any]]:
    """Trains to the end; the points that were reported, without the time they were made."""
    reports = [payload for payload in Training(job, slots).reports() if payload is not None]
    return [without_time(point) for payload in reports for point in payload["points"]]


def without_time(point: dict[str, Any]) -> dict[str, Any]:
    metrics = {name: value for name, value in point["metrics"].items() if not name.startswith("system/")}
    return {**point, "metrics": metrics, "time": None}


def workers_since(calls: int = 0) -> list[str]:
    """The processes that took training steps, in turn, after so many of them."""
    return list(dict.fromkeys(Path("calls").read_text().split()[calls:]))


def steps_taken() -> int:
    return len(Path("calls").read_text().split()) if Path("calls").exists() else 0


def test_trainings_in_one_process_are_those_of_their_own_to_the_bit_and_start_at_once(there: Path, slots: Slots) -> None:
    """In whatever order: what one leaves behind doesn't reach the next."""
    before, alone, seconds = steps_taken(), {}, []
    fresh = Slots(FRESH)
    alone[0] = points_of(fresh, job("fresh", seed=0))
    fresh.end()
    one = Recipe.model_validate(job("here", seed=1).recipe)
    alone[1] = [without_time(point) for point in trained_here(one, there / "here")]
    assert alone[0] != alone[1] and len(workers_since(before)) == 2
    before = steps_taken()
    for number, seed in enumerate((1, 0, 1)):
        started = time.monotonic()
        assert points_of(slots, job(f"warm-{number}", seed=seed)) == alone[seed]
        seconds.append(time.monotonic() - started)
    assert len(workers_since(before)) == 1
    assert max(seconds[1:]) < seconds[0] / 2, "without the start of a process"


def test_a_stopped_training_leaves_its_process_to_the_next(there: Path, slots: Slots) -> None:
    before, stopped = steps_taken(), Training(job("stopped", train={"steps": 6000, "batch_size": 16}), slots)
    next(payload for payload in stopped.reports() if payload is not None)
    stopped.stop(20)
    assert result_in("out/stopped") is None and steps_taken() - before < 5000
    points_of(slots, job("after-stopped"))
    assert len(workers_since(before)) == 1


def test_a_training_that_does_not_come_to_a_dual_step_is_killed_with_its_slot(there: Path, slots: Slots) -> None:
    Path("slow").touch()
    stopped = Training(job("hung", dual={"step_size": 0.05, "every": 60}), slots)
    reports, before = stopped.reports(), steps_taken()
    while steps_taken() == before:
        next(reports)
    stopped.stop(1)
    Path("slow").unlink()
    assert steps_taken() - before < 50
    points_of(slots, job("after-hung"))
    assert len(workers_since(before)) == 2


def test_a_failed_training_does_not_reach_the_next(there: Path, slots: Slots) -> None:
    with pytest.raises(TrainingError, match=r"\(2, 1, 8, 8\)"):
        points_of(slots, job("failed", "parts:halves"))
    points_of(slots, job("after-failed"))
    assert result_in("out/failed") is None and result_in("out/after-failed") is not None


def test_a_killed_worker_and_a_killed_coordinator_leave_no_trace_in_the_points(there: Path, slots: Slots) -> None:
    """From a checkpoint each time, on what takes their place."""
    Path("slow").touch()
    before, killed = steps_taken(), job("killed")
    checkpoints, victims = CheckpointFolder(killed.checkpoints), [""]
    points: dict[tuple[int, bool], dict[str, Any]] = {}
    for payload in Training(killed, slots).reports():
        points |= {(point["step"], point["final"]): without_time(point) for point in (payload or {"points": []})["points"]}
        newest = checkpoints.newest() or ""
        if len(victims) < 3 and newest > victims[-1]:
            victim = ray_process(there, ["RayTrainWorker", "SlotCoordinator"][len(victims) - 1])
            if victim is not None:
                victim.kill()
                victims.append(newest)
    Path("slow").unlink()
    steps = Path("calls").read_text().split()[before:]
    assert len(set(steps)) == 3 and steps.count(steps[0]) < 60 and len(steps) < 60 + 2 * 20 + 20, "it went on from checkpoints"
    plain = [without_time(point) for point in trained_here(Recipe.model_validate(killed.recipe), there / "plain")]
    assert list(points.values()) == plain


def test_a_slot_is_renewed_when_its_memory_has_grown_and_after_so_many_trainings(there: Path) -> None:
    before, renewed = steps_taken(), Slots(Renewal(trainings=3, growth=1.0, grown=150 * 2**20))
    for number, model in enumerate(["more:leaks", "more:leaks", *["parts:good"] * 4]):
        points_of(renewed, job(f"renewed-{number}", model))
    renewed.end()
    workers = Path("calls").read_text().split()[before:]
    assert [workers.count(each) // 60 for each in dict.fromkeys(workers)] == [2, 3, 1], "grown by 200 MB after two, then three"


def test_modules_that_were_edited_between_trainings_are_seen(there: Path, slots: Slots) -> None:
    for number, width in enumerate((8, 8, 1024)):
        text = f"WIDTH = {width}\n"
        if number == 0 or Path("width.py").read_text() != text:
            Path("width.py").write_text(text)
        points_of(slots, job(f"width-{number}", "more:edited"))
    (first, *eight), (second, *also), (third, *wide) = [line.split() for line in Path("widths").read_text().splitlines()]
    assert (eight, also, wide) == (["8"], ["8"], ["1024"]) and third not in (first, second)


def test_workers_of_another_number_take_their_place(there: Path, slots: Slots) -> None:
    before = steps_taken()
    for number, workers in enumerate((2, 2)):
        points_of(slots, job(f"workers-{number}", workers=workers))
    assert len(workers_since(before)) == 2


def test_nothing_of_a_slot_is_left(there: Path, slots: Slots) -> None:
    slots.end()
    end = time.monotonic() + 20
    ours = re.compile("ray::(SlotCoordinator|RayTrainWorker|TrainController|.*Cleaner)")
    while left := [title for each in running_in(there) if ours.match(title := _title(each))]:
        assert time.monotonic() < end, left
        time.sleep(0.2)
    assert ray.available_resources()["CPU"] == ray.cluster_resources()["CPU"], "all placement groups are given back"


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline()[:1])
    except psutil.Error:
        return ""
