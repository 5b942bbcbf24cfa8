"""`train(recipe)` on one Ray for all of them: shards over workers, and parts of the user's that fail in the run."""

from __future__ import annotations

import copy
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml

from dualsweep.trainer.ray_shell.launch import train
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.result import Result
from tests.pipeline.conftest import RECIPE, assert_nothing_left, start, trained_here, working_directory

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working directory, in which a local Ray runs that counts three CPUs, whatever the machine has."""
    before = Path.cwd()
    with working_directory(tmp_path_factory.mktemp("python")) as made:
        os.chdir(made)
        ray.init(address="local", num_cpus=3, include_dashboard=True, log_to_driver=False)
        yield made
        ray.shutdown()
        os.chdir(before)


def sharded(workers: int) -> Recipe:
    plain: dict[str, Any] = copy.deepcopy(RECIPE)
    plain["train"] |= {"batch_size": 17, "log_every": 1, "steps": 50}
    plain |= {"resources": {"workers": workers}, "evaluation": {"samples": 0, "loss_draws": 16}}
    return Recipe.model_validate(plain)


def _collect(points: list[dict[str, Any]]) -> Callable[[dict[str, Any]], None]:
    return lambda payload: points.extend(payload["points"])


def multipliers(points: list[dict[str, Any]]) -> dict[int, list[float]]:
    """The multipliers of the two constraints by step, without the final point."""
    return {point["step"]: [point["metrics"][f"multiplier/{name}"] for name in ("four", "five")] for point in points[:50]}


def test_the_first_50_dual_steps_of_2_and_3_workers_are_those_of_one_process(folder: Path) -> None:
    """With unequal shards, at the same global batch."""
    one = multipliers(trained_here(sharded(1), folder / "one"))
    # Relative to the largest multiplier of the trajectory: one that comes down to almost nothing keeps the rounding errors
    # of what it was.
    largest = max(value for values in one.values() for value in values)
    assert len(one) == 50 and largest > 0.1
    for workers in (2, 3):
        points: list[dict[str, Any]] = []
        result = train(sharded(workers), str(folder / str(workers)), _collect(points))
        assert result.status in ("converged", "out_of_steps"), result.reason
        other = multipliers(points)
        assert other.keys() == one.keys()
        worst = max(abs(a - b) for step in one for a, b in zip(one[step], other[step], strict=True))
        assert worst <= 1e-5 * largest, f"{workers} workers"


def attempts(output: Path) -> int:
    return len(list((output / "ray").glob("slot-*")))


def with_parts(**changes: Any) -> dict[str, Any]:
    return {**RECIPE, "model": {"call": "parts:good"}, "evaluation": {"samples": 0, "loss_draws": 16}, **changes}


def failing(folder: Path, name: str, model: str) -> Result:
    recipe = Recipe.model_validate(with_parts(model={"call": f"parts:{model}"}))
    result = train(recipe, str(folder / name))
    assert result.status == "failed"
    assert not (folder / name / "result.json").exists(), "the same call with a fixed part must run"
    return result


def test_a_model_of_another_shape_ends_the_run_at_once(folder: Path) -> None:
    reason = failing(folder, "shape", "halves").reason
    assert "(2, 1, 8, 8)" in reason and "(2, 1, 4, 4)" in reason
    assert attempts(folder / "shape") == 1


def test_an_error_of_the_code_is_tried_once_more_to_see_it_come_again(folder: Path) -> None:
    result = failing(folder, "raises", "Picky")
    assert attempts(folder / "raises") == 2
    assert result.reason.startswith("ValueError: this model takes zeros only (all of it is in ")
    assert "parts.py" in (folder / "raises" / "error.txt").read_text()


def test_the_command_says_which_of_many_examples_is_bad(tmp_path: Path) -> None:
    """Too many to be read before the run."""
    with working_directory(tmp_path) as folder:
        indices = {"name": "some", "data": {"indices": [0, 1, 2, 4]}, "at_most": 0.3}
        (folder / "nan.yaml").write_text(yaml.safe_dump(with_parts(data={"call": "parts:Broken"}, constraints=[indices])))
        process = start(folder, "train", "nan.yaml", "--output", "nan", "--json", "nan.json")
        said = process.communicate(timeout=600)[0]
        assert process.returncode == 1, said
        assert_nothing_left(folder)
        plain = json.loads((folder / "nan.json").read_text())
        assert (plain["status"], plain["objective"], plain["checkpoint"]) == ("failed", None, None)
        assert f"dualsweep: failed: {plain['reason']}" in said and "Traceback" not in said
        found = re.search(r"data\.call: .* finite.* nan .*item (\d+) of parts:Broken|item (\d+) of parts:Broken", plain["reason"])
        assert found is not None, plain["reason"]
        assert int(next(group for group in found.groups() if group)) % 7 == 3
        assert attempts(folder / "nan") == 1
