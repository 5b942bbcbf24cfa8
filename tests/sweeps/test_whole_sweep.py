"""A whole sweep from the command's side, where Ray has nothing to train: what it says meanwhile, and its review at the end."""

from __future__ import annotations

import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import dualsweep as ds
from dualsweep.sweeps import whole_sweep
from dualsweep.sweeps.checking import checked_plan
from dualsweep.sweeps.journal import INTERVAL
from dualsweep.sweeps.output import Screen
from dualsweep.sweeps.tracking.tracker import Tracker
from dualsweep.sweeps.trials.amortising import run_amortised
from dualsweep.trainer.recipe.recipe import Recipe
from dualsweep.trainer.result import Result, failed
from tests.sweeps.here import dualsweep_here
from tests.sweeps.in_process import again, finished
from tests.sweeps.test_report_listener import AsTune
from tests.sweeps.trials.test_amortised import quick


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
        told = reviewed_here(swept, "MLflow at sqlite:////")
    assert "did not take the review (" in told and "there is nothing at" in told
    assert told.endswith("to put it there: the same command again (dualsweep sweep sweep.yaml --json s.json)")
    (swept / "away.db").rename(store)
    assert "did not take" not in again(swept)


def test_artifacts_that_cannot_be_written_cost_the_review_in_mlflow_and_nothing_else(swept: Path) -> None:
    again(swept)
    for folder in swept.glob("mlruns/*/*/artifacts"):
        folder.rename(folder.with_name("moved"))
        folder.touch()
    told = reviewed_here(swept, "the review is in ")
    assert "could not be stored in MLflow ([Errno 20] Not a directory" in told and told.endswith("tries it again")


def reviewed_here(folder: Path, begins: str) -> str:
    """The same command ends well and has the front from the folder's own records; what it says of MLflow, in one line."""
    done = dualsweep_here("sweep", "sweep.yaml", "--json", "s.json", folder=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    (told,) = (line for line in done.stdout.splitlines() if line.startswith(begins))
    plain = json.loads((folder / "s.json").read_text())
    assert len(plain["trials"]) == 3 and plain["front"] == json.loads((folder / "runs/s/review.json").read_text())["front"]
    assert (folder / "runs/s/front.html").exists() and "front: " in done.stdout
    return told


def status_of(folder: Path) -> list[dict[str, Any]]:
    done = dualsweep_here("status", "out", "--json", "status.json", folder=folder)
    assert done.returncode == 0 and "amortised" in done.stdout, done.stderr
    rows: list[dict[str, Any]] = json.loads((folder / "status.json").read_text())["trials"]
    return rows


def test_status_tells_of_the_amortised_training_while_it_goes_on_and_again_when_it_is_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    AsTune(monkeypatch)
    monkeypatch.setenv("COLUMNS", "200")
    seen: list[tuple[Any, ...]] = []

    def interrupted_at_four(recipe: Recipe, output: str, on_report: Any) -> Result:
        seen.append(tuple(status_of(tmp_path)[0][key] for key in ("trial", "state", "step")))
        on_report({"step": 4, "steps": 12, "seconds": 1.0, "points": []})
        time.sleep(INTERVAL)
        on_report({"step": 4, "steps": 12, "seconds": 1.0, "points": []})
        seen.append(tuple(status_of(tmp_path)[0][key] for key in ("trial", "state", "step", "steps", "phase")))
        raise KeyboardInterrupt

    monkeypatch.setattr(whole_sweep, "run_amortised", partial(run_amortised, training=interrupted_at_four))
    checked = checked_plan(quick(tmp_path), str(tmp_path / "out"), None, None, "light")
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            whole_sweep.run_sweep(checked, Screen())
        (row,) = status_of(tmp_path)
        assert (row["state"], row["step"]) == ("interrupted", 4)
    assert seen == [("amortised", "starting", 0), ("amortised", "running", 4, 12, "training")] * 2


def test_the_json_file_is_what_a_sweep_and_its_folder_have_in_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also why it ended early, and how its amortised training ended, which broke off."""
    AsTune(monkeypatch)
    search = {"constraints.four.at_most": {"uniform": [0.3, 0.6]}}
    sampler = {"name": "dual_informed", "tolerance": 100.0}
    with monkeypatch.context() as patch:
        patch.chdir(finished(tmp_path, search=search, sampler=sampler, trials=8, amortised=True))
        patch.setattr(whole_sweep, "run_amortised", partial(run_amortised, training=breaks_off))
        swept = ds.sweep("sweep.yaml")
        assert swept.stopped and swept.amortised is not None and swept.exit_code == 3
        loaded = ds.load("runs/s")
        assert isinstance(loaded, ds.Swept) and loaded.exit_code == 3
        assert loaded.to_json() == swept.to_json()
        assert dualsweep_here("sweep", "sweep.yaml", "--json", "s.json", folder=tmp_path).returncode == 3
        assert ds.load("runs/s").to_json() == swept.to_json()
    told = json.loads((tmp_path / "s.json").read_text())
    assert told == swept.to_json() and told["amortised"]["objective"] is None


def breaks_off(recipe: Recipe, output: str, on_report: Any) -> Result:
    """An amortised training that fails, of which its own folder has no result."""
    return failed("it broke off")
