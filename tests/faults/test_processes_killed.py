"""`kill -9` of a worker and of the coordinator in mid-run: the run goes on from its checkpoint, and its numbers don't tell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from dualsweep.trainer.checkpoint import CheckpointFolder
from dualsweep.trainer.recipe.recipe import Recipe
from tests.pipeline.conftest import RECIPE, assert_nothing_left, ray_process, start, trained_here, wait_for

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def without_time(points: list[dict[str, Any]]) -> list[tuple[int, dict[str, float]]]:
    return [(each["step"], {k: v for k, v in each["metrics"].items() if not k.startswith("system/")}) for each in points]


def kill(folder: Path, title: str, checkpoints: CheckpointFolder, after: str, process: Any) -> tuple[psutil.Process, str]:
    """Kills an actor once there is a checkpoint newer than `after`; that process, and that checkpoint's path."""
    wait_for(lambda: (checkpoints.newest() or "") > after, process)
    victim = ray_process(folder, title)
    assert victim is not None, title
    victim.kill()
    return victim, checkpoints.newest() or ""


def test_killed_worker_and_killed_coordinator_leave_no_trace_in_the_results(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "recipe.yaml").write_text(yaml.safe_dump({**RECIPE, "model": {"call": "parts:good"}}))
    (folder / "slow").touch()
    checkpoints = CheckpointFolder(str(folder / "out" / "checkpoints"))
    process = start(folder, "train", "recipe.yaml", "--output", "out", "--json", "r.json")
    worker, at = kill(folder, "RayTrainWorker", checkpoints, "", process)
    wait_for(lambda: ray_process(folder, "RayTrainWorker") not in (None, worker), process)
    coordinator, _ = kill(folder, "CoordinatorServer", checkpoints, at, process)
    (folder / "slow").unlink()
    said = process.communicate(timeout=600)[0]
    assert process.returncode == 0, said
    assert_nothing_left(folder)
    disturbed = [json.loads(line) for line in (folder / "out" / "metrics.jsonl").read_text().splitlines()]
    calls = (folder / "calls").read_text().split()
    assert len(set(calls)) == 3 and calls.count(calls[0]) < 60 and len(calls) < 60 + 2 * 20 + 20, "it went on from checkpoints"
    assert coordinator.pid != worker.pid
    monkeypatch.chdir(folder)
    recipe = Recipe.model_validate(yaml.safe_load((folder / "recipe.yaml").read_text()))
    assert without_time(disturbed) == without_time(trained_here(recipe, folder / "plain"))
