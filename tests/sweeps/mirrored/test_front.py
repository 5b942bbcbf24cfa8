"""The front of a sweep behind a URI: what it recommends is kept there, for every machine that asks."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from dualsweep.sweeps.mirrored.driving import brought
from dualsweep.sweeps.mirrored.lease import Lease, Owner
from dualsweep.trainer.storage import filesystem
from tests.stores import empty_store
from tests.sweeps.here import dualsweep_here
from tests.sweeps.in_process import RECIPE
from tests.sweeps.mirrored.driver import drive


def front(place: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return dualsweep_here("front", place, "--output", "figures", *options, folder=folder)


def swept(place: str, folder: Path) -> None:
    """A sweep of two trials that meet their budget, ended and not reviewed."""
    recipe = RECIPE | {"train": {"steps": 4, "batch_size": 16, "log_every": 2}}
    recipe |= {"constraints": [{"name": "four", "data": {"classes": [4]}, "at_most": 9.0}]}
    plain = {
        "name": "s",
        "recipe": recipe,
        "search": {"dual.step_size": {"choice": [0.1, 0.2]}},
        "trials": 2,
        "sampler": "random",
    }
    (folder / "sweep.yaml").write_text(yaml.safe_dump({**plain, "mlflow": {"tracking_uri": empty_store(folder)}}))
    drive(folder, place)


@contextlib.contextmanager
def driven_by_another(place: str) -> Iterator[int]:
    """Another process of this machine has the lease; its id."""
    files, root = filesystem(place)
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"]) as driver:
        held = Lease(files, root, 9, Owner.of(driver.pid), "")
        files.pipe_file(held._path, held._content())
        yield driver.pid
        driver.kill()


def test_what_is_preferred_is_kept_behind_the_uri_and_not_while_a_sweep_runs_there(place: str, tmp_path: Path) -> None:
    swept(place, tmp_path)
    said = dualsweep_here("explain", place, folder=tmp_path)
    assert said.returncode == 2 and f"name one trial, {place}/trials/0000, or first: dualsweep front {place}" in said.stderr
    prefer = ["--prefer", "{weights: {objective: 1}}"]
    with driven_by_another(place) as process:
        refused = front(place, tmp_path, *prefer)
    told = f"command line:1: --output: must have one driver at a time, but got {place}, which process {process} on"
    assert refused.returncode == 2 and refused.stderr.startswith(told), refused.stderr
    assert not (tmp_path / "figures").exists()
    for options in ([], prefer):
        done = front(place, tmp_path, *options, "--json", "front.json")
        assert done.returncode == 0, done.stderr
        kept = json.loads((Path(brought(place)) / "review.json").read_text())
        assert kept["recommended"] == json.loads((tmp_path / "front.json").read_text())["recommended"]
        assert bool(kept["recommended"]["preferred"]) == bool(options)
    said = dualsweep_here("explain", place, folder=tmp_path)
    assert said.stdout.startswith(f"{place}/trials/{kept['recommended']['trial']}: the recommended trial"), said.stderr


@pytest.mark.parametrize("options", [[], ["--prefer", "none"]])
def test_where_no_sweep_is_nothing_is_written(options: list[str], place: str, tmp_path: Path) -> None:
    done = front(place, tmp_path, *options)
    assert done.returncode == 2 and "must be where a run's driver has its files" in done.stderr
    assert not filesystem(place)[0].exists(place)
