"""A Python process that trains, by `import dualsweep`: it hears of every report, and nothing is left of it after `kill -9`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.pipeline.conftest import RECIPE, assert_nothing_left, wait_for

#: What a killed command leaves, in test_broken_off.py, stands for them: the library's process is watched by the same.
pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.dear]

SCRIPT = """
import json, sys
from pathlib import Path
import dualsweep as ds

def heard(payload):
    Path("heard.part").write_text(json.dumps(payload))
    Path("heard.part").replace("heard")

getattr(ds, sys.argv[1])(sys.argv[2], on_report=heard)
"""


@pytest.mark.parametrize(
    ("call", "file", "trials"),
    [("train", "recipe.yaml", [None]), ("sweep", "sweep.yaml", ["0000", "0001", "0002"])],
)
def test_killed_it_leaves_nothing_behind(call: str, file: str, trials: list[str | None], folder: Path) -> None:
    (folder / "recipe.yaml").write_text(yaml.safe_dump({**RECIPE, "model": {"call": "parts:good"}}))
    (folder / "slow").touch()
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, call, file], cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        start_new_session=True,
    )  # fmt: skip
    wait_for((folder / "heard").exists, process)
    heard = json.loads((folder / "heard").read_text())
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert_nothing_left(folder)
    assert heard.get("trial") in trials and heard["steps"] == 60 and {"step", "seconds", "points"} <= heard.keys()
