"""`dualsweep train` on a folder that another one works in."""

from __future__ import annotations

from pathlib import Path

from dualsweep.sweeps.studies.storage import locked
from tests.sweeps.here import dualsweep_here
from tests.test_runs_of_0_1 import unpack


def test_two_trainings_in_one_folder_are_kept_apart(tmp_path: Path) -> None:
    """Of one that has ended: it needs no Ray."""
    folder = unpack(tmp_path)
    with locked(folder / "runs" / "tiny" / "train.lock", by="training"):
        refused = dualsweep_here("train", "recipe.yaml", folder=folder)
    assert refused.returncode == 2 and "has ended before" not in refused.stdout, refused
    assert "--output: must not be in use by another training, but got process" in refused.stderr
    done = dualsweep_here("train", "recipe.yaml", folder=folder)
    assert done.returncode == 0 and "has ended before" in done.stdout, done
