"""What a job says of where its results are, and refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from dualsweep.sweeps import typed, way_back
from dualsweep.sweeps.checking import Checked, checked_sweep
from tests.pipeline.conftest import RECIPE, SWEEP


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A job's working directory with a sweep."""
    made = tmp_path / "runtime_resources" / "working_dir_files" / "_ray_pkg_1"
    made.mkdir(parents=True)
    (made / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    (made / "sweep.yaml").write_text(yaml.safe_dump(SWEEP))
    monkeypatch.chdir(made)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("DUALSWEEP_STORAGE", raising=False)
    return made


def checked(*sets: str, output: str | None = None) -> Checked:
    return checked_sweep(Path("sweep.yaml"), list(sets), output, None, None)


@pytest.mark.usefixtures("folder")
def test_places_and_commands_of_a_job_work_from_elsewhere(tmp_path: Path) -> None:
    sweep, home = checked(), tmp_path / "home" / "dualsweep"
    assert sweep.plan is not None and sweep.output == str(home / "runs/tiny-sweep")
    assert [f"relative places lie below {home} on " in line for line in way_back.places(sweep)] == [True]
    command = f"dualsweep ui tiny-sweep --tracking-uri sqlite:///{home}/mlflow.db; then from your machine: ssh -L "
    assert command in way_back.review(sweep.plan, sweep.output) and way_back.again() == "submit the same again"
    served = checked("mlflow.tracking_uri=http://127.0.0.1:9")
    assert served.plan is not None
    assert way_back.review(served.plan, served.output) == "review: dualsweep ui tiny-sweep --tracking-uri http://127.0.0.1:9"


def test_beside_no_job_the_output_folder_leads_to_the_store(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("recipe.yaml", "sweep.yaml"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(typed, "_typed", [])
    plain = checked()
    assert plain.plan is not None and way_back.places(plain) == []
    assert way_back.review(plain.plan, "runs/my sweep") == "review: dualsweep ui 'runs/my sweep'"
    assert way_back.again() == "the same call again", "no command was typed here"


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("in_job", [True, False])
def test_a_store_with_a_login_is_told_without_it_and_what_to_set(
    in_job: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri, plan = "http://me:secret@127.0.0.1:9", checked("mlflow.tracking_uri=http://me:secret@127.0.0.1:9").plan
    assert plan is not None
    if not in_job:
        monkeypatch.chdir(tmp_path)
    name = "tiny-sweep" if in_job else "runs/s"
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    told = "with MLFLOW_TRACKING_URI set to http://***@127.0.0.1:9, its secrets in place of ***"
    assert way_back.review(plan, "runs/s") == f"review: dualsweep ui {name}, {told}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert way_back.review(plan, "runs/s") == f"review: dualsweep ui {name}"


@pytest.mark.usefixtures("folder")
def test_an_interrupted_sweep_tells_at_its_end_how_many_broke_off_and_why() -> None:
    plan, again = checked("trials=2").plan, "; to continue: submit the same again"
    assert plan is not None
    assert way_back.interrupted(plan, 1, {}) == f"interrupted with 1 of 2 trials done{again}"
    both = way_back.interrupted(plan, 0, {"0000": "its worker died", "0001": "its worker died"})
    assert both == f"interrupted with 0 of 2 trials done and 2 of 2 trainings broken off (its worker died){again}"
    reasons = {str(number): f"reason {number // 2}" for number in range(9)}
    assert "(2 x reason 0; 2 x reason 1; 2 x reason 2)" in way_back.interrupted(plan, 0, reasons)
