"""Warm-hosted trainings: one after another in the same processes, as safe as in processes of their own."""

from __future__ import annotations

import json
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import yaml

from dualsweep.sweeps import load_plan, sweep
from dualsweep.trainer.checkpoint import CheckpointFolder
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.ray_shell.job import job_for, result_in
from dualsweep.trainer.ray_shell.launch import train
from dualsweep.trainer.ray_shell.slots import Slots
from dualsweep.trainer.ray_shell.training_handle import Training
from dualsweep.trainer.recipe.recipe import Recipe
from tests.known.cases import THRESHOLDS, backpropagation
from tests.pipeline.conftest import RECIPE, put, ray_process, running_in, trained_here
from tests.pipeline.hosted import (
    all_is_free,
    job,
    points_of,
    processes_of_slots,
    slots,
    slots_started,
    steps_taken,
    there,
    timeless,
    title_of,
    wait_until,
    workers_since,
)  # fmt: skip

__all__ = ["slots", "there"]
pytestmark = [pytest.mark.ray, pytest.mark.slow]

#: Losses are not below 0: of the two budgets one is beyond any price. The model is a single layer, so that steps cost little.
ONE_LAYER: dict[str, Any] = {
    **RECIPE,
    "model": {"call": "parts:good"},
    "constraints": [{"name": "four", "data": {"classes": [4]}, "at_most": 5.0}],
    "dual": {"step_size": 5e-4},  # or the multiplier is at its cap, and the trial infeasible by itself, before anybody looks
    "train": {"steps": 2000, "batch_size": 8, "lr": 2e-3, "log_every": 10},
    "evaluation": {"samples": 1, "sample_steps": 1, "loss_draws": 16, "metrics": [], "grid": 0},
    "checkpoint": {"every": 1000},
}
TWO_BUDGETS: dict[str, Any] = {
    "name": "stopping",
    "recipe": "tiny.yaml",
    "search": {"constraints.four.at_most": {"choice": [5.0, -0.5]}},
    "sampler": {"name": "random", "seed": 0},
    "points": [{"constraints.four.at_most": -0.5}, {"constraints.four.at_most": 5.0}],
    "trials": 2,
    "concurrency": 1,
    "early_stopping": {"infeasible": True},
    "mlflow": {"tracking_uri": "sqlite:///mlflow.db"},
}


@pytest.mark.dear  # of trials that are hosted so, faults/test_faults.py compares the bits
def test_trainings_in_one_process_are_those_of_their_own_to_the_bit_and_start_at_once(there: Path, slots: Slots) -> None:
    """In whatever order: what one leaves behind doesn't reach the next. One's own process is that of `train(recipe)`."""
    alone: dict[int, list[dict[str, Any]]] = {0: []}
    result = train(Recipe.model_validate(job("", seed=0).recipe), "out/fresh", lambda payload: alone[0].extend(payload["points"]))
    assert result.status == "out_of_steps" and result == result_in("out/fresh")
    alone[1] = trained_here(Recipe.model_validate(job("", seed=1).recipe), there / "here")
    alone = {seed: list(map(timeless, points)) for seed, points in alone.items()}
    assert alone[0] != alone[1]
    before, seconds = steps_taken(), []
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


@pytest.mark.dear
def test_a_slot_is_renewed_when_its_memory_has_grown(there: Path, slots: Slots) -> None:
    before = steps_taken()
    for number, model in enumerate(["more:leaks", "more:leaks", "parts:good"]):
        points_of(slots, job(f"grown-{number}", model))
    workers = Path("calls").read_text().split()[before:]
    assert [workers.count(each) // 60 for each in dict.fromkeys(workers)] == [2, 1], "700 MB more than after its first"


@pytest.mark.dear
def test_modules_that_were_edited_between_trainings_are_seen(there: Path, slots: Slots) -> None:
    for number, width in enumerate((8, 8, 1024)):
        text = f"WIDTH = {width}\n"
        if number == 0 or Path("width.py").read_text() != text:
            Path("width.py").write_text(text)
        points_of(slots, job(f"width-{number}", "more:edited"))
    (first, *eight), (second, *also), (third, *wide) = [line.split() for line in Path("widths").read_text().splitlines()]
    assert (eight, also, wide) == (["8"], ["8"], ["1024"]) and third not in (first, second)


@pytest.mark.dear
def test_a_failed_training_is_tried_again_where_that_may_help(there: Path, slots: Slots) -> None:
    """At once it has failed where it says so itself; else it is tried once more, to see an error of the code come again."""
    with pytest.raises(TrainingError, match=r"\(2, 1, 8, 8\).*\(2, 1, 4, 4\)"):
        points_of(slots, job("shape", "parts:halves"))
    assert slots_started("shape") == 0, "on the slot that was there"
    with pytest.raises(
        TrainingError, match=r"^ValueError: this model takes zeros only \(all of it is in .*parts\.py:\d+ in forward"
    ):
        points_of(slots, job("raises", "parts:Picky"))
    assert slots_started("raises") == 2 and "parts.py" in Path("out/raises/error.txt").read_text()
    assert result_in("out/shape") is None and result_in("out/raises") is None


@pytest.mark.dear
def test_a_killed_worker_and_a_killed_coordinator_leave_no_trace_in_the_points(there: Path, slots: Slots) -> None:
    """From a checkpoint each time, on what takes their place."""
    Path("slow").touch()
    before, killed = steps_taken(), job("killed")
    checkpoints, victims = CheckpointFolder(killed.checkpoints), [""]
    points: dict[tuple[int, bool], dict[str, Any]] = {}
    for payload in Training(killed, slots).reports():
        points |= {(point["step"], point["final"]): timeless(point) for point in (payload or {"points": []})["points"]}
        newest = checkpoints.newest() or ""
        if len(victims) < 3 and newest > victims[-1]:
            victim = ray_process(there, ["RayTrainWorker", "SlotCoordinator"][len(victims) - 1])
            if victim is not None:
                victim.kill()
                victims.append(newest)
    Path("slow").unlink()
    steps = Path("calls").read_text().split()[before:]
    assert len(set(steps)) == 3 and steps.count(steps[0]) < 60 and len(steps) < 60 + 2 * 20 + 20, "it went on from checkpoints"
    plain = [timeless(point) for point in trained_here(Recipe.model_validate(killed.recipe), there / "plain")]
    assert list(points.values()) == plain


def sharded(workers: int) -> dict[str, Any]:
    """Shards of unequal sizes, with a point of every dual step."""
    train = {"steps": 50, "batch_size": 17, "lr": 2e-3, "log_every": 1}
    return {"train": train, "resources": {"workers": workers}}


def multipliers(points: list[dict[str, Any]]) -> np.ndarray:
    """The multipliers of the two constraints [50, 2], without the final point."""
    return np.array([[point["metrics"][f"multiplier/{name}"] for name in ("four", "five")] for point in points[:50]])


@pytest.mark.parametrize("workers", [2, pytest.param(3, marks=pytest.mark.dear)])
def test_workers_of_another_number_take_their_place_and_their_multipliers_are_those_of_one(
    workers: int, there: Path, slots: Slots
) -> None:
    one = multipliers(trained_here(Recipe.model_validate(job("", **sharded(1)).recipe), there / f"one-{workers}"))
    several = multipliers(points_of(slots, job(f"workers-{workers}", **sharded(workers))))
    # Relative to the largest of the trajectory: one that comes down to almost nothing keeps the rounding errors of what it was.
    assert len(one) == 50 and one.max() > 0.1
    assert np.abs(several - one).max() <= 1e-5 * one.max()
    processes = [each for each in processes_of_slots(there) if "RayTrainWorker" in title_of(each)]
    listened = {
        place.laddr.ip.removeprefix("::ffff:")
        for each in processes
        for place in each.net_connections()
        if place.status == psutil.CONN_LISTEN
    }
    assert len(processes) == workers and listened == {"127.0.0.1"}


@pytest.mark.dear  # without Ray: tests/trainer/engine/test_sharded_primal.py
def test_workers_that_have_a_part_of_the_weights_each_have_the_multipliers_of_those_that_have_all(
    there: Path, slots: Slots
) -> None:
    whole, divided = (
        multipliers(points_of(slots, job(kind, **{**sharded(2), "resources": {"workers": 2, "parallel": kind}})))
        for kind in ("ddp", "fsdp")
    )
    assert len(divided) == 50 and whole.max() > 0.1
    assert np.abs(divided - whole).max() <= 1e-5
    restored, other = (CheckpointFolder(f"out/{kind}/checkpoints").latest() for kind in ("fsdp", "ddp"))
    assert restored is not None and other is not None
    shapes = [{name: each.shape for name, each in one.groups["weights"].items()} for one in (restored, other)]
    assert shapes[0] == shapes[1]


def test_two_workers_align_a_gaussian_to_two_rewards(there: Path, slots: Slots) -> None:
    case = backpropagation(2)
    plain = {**case.plain, "resources": {"workers": 2}}
    plain["train"]["steps"], plain["evaluation"]["samples"] = 400, 2000
    points_of(slots, job_for(Recipe.model_validate(plain), "out/aligned", "judges"))
    result = result_in("out/aligned")
    assert result is not None and not [
        f"{each.required}, but got {each.found}" for each in case.judge(result.to_json()) if not each.ok
    ]
    samples = np.load("out/aligned/samples.npy")
    assert samples.shape == (2000, 2) and np.abs(samples.mean(0) - list(THRESHOLDS.values())[:2]).max() < 0.1


def test_nothing_of_a_slot_is_left(there: Path, slots: Slots) -> None:
    """Nor does one stay that has done its number of trainings."""
    slots.end()
    wait_until(lambda: not processes_of_slots(there))
    wait_until(all_is_free)


def test_a_training_that_does_not_come_to_a_dual_step_is_killed_with_its_slot_and_holds_nothing(
    there: Path, slots: Slots
) -> None:
    """Though Ray's own cleaner would ask the dashboard, which a busy machine may leave without an answer, for the controller."""
    Path("slow").touch()
    stopped = Training(job("hung", dual={"step_size": 0.05, "every": 60}), slots)
    reports, before = stopped.reports(), steps_taken()
    while steps_taken() == before:
        next(reports)
    dashboard = next(each for each in running_in(there) if "StateHead" in title_of(each))
    dashboard.suspend()
    try:
        stopped.stop(1)
        wait_until(lambda: not processes_of_slots(there))
    finally:
        dashboard.resume()
        Path("slow").unlink()
    assert steps_taken() - before < 50
    wait_until(all_is_free)


def kill_the_trial_after_its_checkpoint(folder: Path, checkpoints: Path) -> None:
    wait_until(lambda: bool(CheckpointFolder(str(checkpoints)).newest()), 200)
    trial = ray_process(folder, "ResourceTrainable")
    assert trial is not None
    trial.kill()


@pytest.mark.dear  # sweeps/test_early_stopping.py stops trials, and faults/test_faults.py kills one's own process
def test_a_stopped_trial_makes_way_for_the_next_which_outlasts_its_own_process(
    there: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The one ends at its next dual step, the next goes on in the same process, and from its checkpoint when that is killed."""
    put(there, {"tiny.yaml": yaml.safe_dump(ONE_LAYER), "budgets.yaml": yaml.safe_dump(TWO_BUDGETS)})
    before = steps_taken()
    with ThreadPoolExecutor() as beside:
        killed = beside.submit(kill_the_trial_after_its_checkpoint, there, there / "runs/stopping/trials/0001/checkpoints")
        stopped, good = sweep(load_plan("budgets.yaml")).to_json()["trials"]
        killed.result()
    said, calls = capsys.readouterr().out, Path("calls").read_text().split()[before:]
    first, second = Counter(calls).values()
    assert (stopped["status"], stopped["stopped_by"], good["feasible"]) == ("stopped", "infeasible", "met")
    assert 600 <= stopped["steps"] < 1900 and stopped["steps"] + 1000 <= first < stopped["steps"] + 2000 and second == 1000
    assert f"trial {stopped['id']} stopped after" in said and "cannot be met within" in said
    assert "trial 0001: its own process died" in said and said.count("trial 0001 starts") == 1
    wait_until(all_is_free)


@pytest.mark.dear
def test_a_stopped_trial_is_stopped_for_good(there: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same command again: in the folder of the test before."""
    first = [json.loads((there / f"runs/stopping/records/000{number}.json").read_text())["result"] for number in (0, 1)]
    again = sweep(load_plan("budgets.yaml")).to_json()
    assert "starts" not in capsys.readouterr().out
    assert again["front"] == ["0001"] and [trial["status"] for trial in again["trials"]] == [each["status"] for each in first]
