"""A whole sweep from the command's side, where it has nothing left to train: its review, and what may go wrong on the way."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dualsweep.sweeps.tracking.tracker import Tracker
from tests.sweeps.here import dualsweep_here
from tests.sweeps.in_process import again, finished


@pytest.fixture
def swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(finished(tmp_path))
    return tmp_path


def test_a_store_that_is_gone_once_it_has_all_trials_costs_the_review_there_and_nothing_else(
    swept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    close, store = Tracker.close, swept / "mlflow.db"

    def closed(tracker: Tracker, timeout: float = 30.0) -> str | None:
        undelivered = close(tracker, timeout)
        store.rename(swept / "away.db")
        return undelivered

    with monkeypatch.context() as patch:
        patch.setattr(Tracker, "close", closed)
        check_reviewed_here(swept, "there is nothing at")
    (swept / "away.db").rename(store)
    assert "did not take" not in again(swept)


def test_artifacts_that_cannot_be_written_cost_the_review_in_mlflow_and_nothing_else(swept: Path) -> None:
    again(swept)
    for folder in swept.glob("mlruns/*/*/artifacts"):
        folder.rename(folder.with_name("moved"))
        folder.touch()
    check_reviewed_here(swept, "[Errno 20] Not a directory")


def check_reviewed_here(folder: Path, why: str) -> None:
    """The same command ends well, has the front from the folder's own records, and says what MLflow lacks and why."""
    done = dualsweep_here("sweep", "sweep.yaml", "--json", "s.json", folder=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    (told,) = (line for line in done.stdout.splitlines() if "MLflow at" in line)
    assert told.startswith("MLflow at sqlite:////") and "did not take the review (" in told and why in told
    assert told.endswith("to put it there: the same command again (dualsweep sweep sweep.yaml --json s.json)")
    plain = json.loads((folder / "s.json").read_text())
    assert len(plain["trials"]) == 3 and plain["front"] == json.loads((folder / "runs/s/review.json").read_text())["front"]
    assert (folder / "runs/s/front.html").exists() and "front: " in done.stdout
