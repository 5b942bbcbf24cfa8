"""A user's parts that fail in the run, past what can be checked before it: told clearly, and not tried again for nothing."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from tests.pipeline.conftest import RECIPE, assert_nothing_left, start

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def attempts(folder: Path, output: str) -> int:
    return len(list((folder / output / "ray").glob("attempt-*")))


def test_bad_data_and_models_end_the_run_and_say_why(folder: Path) -> None:
    """All at once, as most of a run's time here is Ray's start."""
    common = {**RECIPE, "model": {"call": "parts:good"}, "evaluation": {"samples": 0, "loss_draws": 16}}
    (folder / "shape.yaml").write_text(yaml.safe_dump({**common, "model": {"call": "parts:halves"}}))
    indices = {"name": "some", "data": {"indices": [0, 1, 2, 4]}, "at_most": 0.3}
    (folder / "nan.yaml").write_text(yaml.safe_dump({**common, "data": {"call": "parts:Broken"}, "constraints": [indices]}))
    (folder / "raises.yaml").write_text(yaml.safe_dump({**common, "model": {"call": "parts:Picky"}}))
    names = ("shape", "nan", "raises")
    processes = [start(folder, "train", f"{name}.yaml", "--output", name, "--json", f"{name}.json") for name in names]
    said = {name: process.communicate(timeout=600)[0] for name, process in zip(names, processes, strict=True)}
    assert [process.returncode for process in processes] == [1, 1, 1], said
    assert_nothing_left(folder)
    reasons = {}
    for name in names:
        plain = json.loads((folder / f"{name}.json").read_text())
        reasons[name] = plain["reason"]
        assert plain["status"] == "failed" and plain["objective"] is None and plain["checkpoint"] is None
        assert f"dualsweep: failed: {plain['reason']}" in said[name]
        assert "Traceback" not in said[name]
        assert not (folder / name / "result.json").exists(), "the same command with a fixed part must run"
    assert "(2, 1, 8, 8)" in reasons["shape"] and "(2, 1, 4, 4)" in reasons["shape"]
    found = re.search(r"data\.call: .* finite.* nan .*item (\d+) of parts:Broken|item (\d+) of parts:Broken", reasons["nan"])
    assert found is not None, reasons["nan"]
    assert int(next(group for group in found.groups() if group)) % 7 == 3
    assert [attempts(folder, name) for name in names] == [1, 1, 2], (
        "an error of the code is tried once more, to see it come again"
    )
    assert reasons["raises"].startswith("ValueError: this model takes zeros only (all of it is in ")
    assert "parts.py" in (folder / "raises" / "error.txt").read_text()
