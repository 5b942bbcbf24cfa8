"""Where the study is kept: any storage comes back exactly, is one sweep's at a time, and a bad one is told at once."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest

from dualsweep.sweeps.checking import checked_sweep
from dualsweep.sweeps.planning.load import load_plan
from dualsweep.sweeps.studies.kept import STUDY
from dualsweep.sweeps.studies.storage import open_storage
from dualsweep.sweeps.studies.study import Study
from dualsweep.trainer.config.diagnostics import InputError
from dualsweep.trainer.config.masking import masked
from tests.postgresql import Server, installed, serving
from tests.sweeps.files import SWEEP, plan, write

ROOT = Path(__file__).parents[3]
GOOD = {"four": 0.1, "five": 0.05}


def answer(params: dict[str, Any]) -> tuple[list[float], dict[str, float]]:
    """A closed form of the parameters; a third of the trials are infeasible."""
    loose = params["constraints.four.at_most"]
    return [params["dual.step_size"] + 0.01 / loose, loose], {"four": loose - 0.13, "five": 0.1}


def stored(output: Path) -> optuna.Study:
    """The study in a storage of the user's, as any other tool of Optuna's opens it."""
    kept = json.loads((output / STUDY).read_text())
    storage = open_storage(kept["storage"], held=False) if kept["storage"].startswith("journal") else kept["storage"]
    return optuna.load_study(study_name=kept["study"], storage=storage)


def history(output: Path, url: str | None) -> list[Any]:
    name = "digits-minority"
    study = (
        stored(output) if url else optuna.load_study(study_name=name, storage=open_storage(f"journal://{output}/study.journal"))
    )
    return [(each.number, each.state.name, each.params, each.values, each.constraints) for each in study.trials]


def run(sweep: Path, url: str | None, output: Path, trials: int) -> None:
    """Goes on with a sweep: what is unfinished first, then new trials; fails where a trial that was told is run again."""
    overrides = [f"trials={trials}", "sampler=tpe", *([f"storage={url}"] if url else [])]
    with Study(load_plan(sweep, overrides), output) as study:
        told = {number for number, state in study.states.items() if state != "running"}
        waiting = study.unfinished()
        while waiting or study.remaining:
            asked = waiting.pop(0) if waiting else study.ask()
            assert asked.number not in told
            values, slacks = answer(asked.params)
            study.tell(asked.number, values if asked.number % 5 else [float("nan"), 1.0], slacks)


def killed_again_and_again(sweep: str, url: str, output: str, trials: str) -> None:
    """Runs the sweep in processes that are killed (-9) at their 3rd, 14th, ... write of the study, until one comes to the end."""
    for writes in itertools.count(3, 11):
        process = os.fork()
        if process == 0:
            left = itertools.count(writes, -1)

            def kill(event: str, arguments: Any) -> None:
                written = event in ("os.rename", "os.symlink") or (event == "open" and "a" in str(arguments[1]))
                if (written or event == "statement") and next(left) <= 0:  # noqa: B023
                    os.kill(os.getpid(), signal.SIGKILL)

            sys.addaudithook(kill)
            import sqlalchemy
            from sqlalchemy.engine import Engine

            @sqlalchemy.event.listens_for(Engine, "before_cursor_execute")
            def count(_: Any, __: Any, statement: str, *___: Any) -> None:
                if statement.startswith(("INSERT", "UPDATE")):
                    kill("statement", ())

            run(Path(sweep), url or None, Path(output), int(trials))
            os._exit(0)
        _, status = os.waitpid(process, 0)
        if os.WIFEXITED(status):
            sys.exit(os.WEXITSTATUS(status))


@pytest.mark.parametrize("url", ["journal://{}/shared/all.journal", "sqlite:///{}/study.db"])
def test_killed_at_any_write_the_study_is_the_uninterrupted_one(tmp_path: Path, url: str) -> None:
    sweep = write(tmp_path, SWEEP)
    code = "import sys; from tests.sweeps.studies.test_storage import killed_again_and_again as run; run(*sys.argv[1:])"
    given = [str(sweep), url.format(tmp_path), str(tmp_path / "parts"), "6"]
    assert subprocess.run([sys.executable, "-c", code, *given], check=False, cwd=ROOT).returncode == 0
    run(sweep, url.format(tmp_path), tmp_path / "straight", 6)
    parts, straight = history(tmp_path / "parts", url), history(tmp_path / "straight", url)
    assert parts == straight and [each[0] for each in parts] == list(range(6))
    assert {each[1] for each in parts} == {"COMPLETE", "FAIL"}, "none is left running"


def test_two_sweeps_of_one_name_share_a_database_and_not_a_study(tmp_path: Path) -> None:
    search = plan(tmp_path, f"storage=sqlite:///{tmp_path}/study.db")
    for output in ("one", "two"):
        with Study(search, tmp_path / output) as study:
            study.tell(study.ask().number, [1.0, 2.0], GOOD)
            assert study.finished == 1
    assert len({stored(tmp_path / output).study_name for output in ("one", "two")}) == 2


def test_a_copied_output_does_not_work_on_the_same_study(tmp_path: Path) -> None:
    search = plan(tmp_path, f"storage=sqlite:///{tmp_path}/study.db")
    Study(search, tmp_path / "one").close()
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    with Study(search, tmp_path / "one"), pytest.raises(InputError) as caught:
        Study(search, tmp_path / "two")
    assert "storage: must not be in use by another sweep, but got process" in str(caught.value)
    Study(search, tmp_path / "two").close()


@pytest.mark.parametrize(
    ("before", "after"), [(None, "sqlite:///{}/a.db"), ("sqlite:///{}/a.db", None), ("{}/a.journal", "{}/b.journal")]
)
def test_a_sweep_stays_in_its_storage(tmp_path: Path, before: str | None, after: str | None) -> None:
    one, other = ([f"storage={each.format(tmp_path)}"] if each else [] for each in (before, after))
    Study(plan(tmp_path, *one), tmp_path / "out").close()
    with pytest.raises(InputError, match="storage: must stay as it was when this sweep began"):
        Study(plan(tmp_path, *other), tmp_path / "out")
    Study(plan(tmp_path, *one), tmp_path / "out").close()


def test_a_database_that_lost_the_study_is_not_begun_anew(tmp_path: Path) -> None:
    search = plan(tmp_path, f"storage=sqlite:///{tmp_path}/study.db")
    Study(search, tmp_path / "out").close()
    (tmp_path / "study.db").unlink()
    (tmp_path / "out" / "records").mkdir()
    (tmp_path / "out" / "records" / "0003.json").write_text("{}")
    with pytest.raises(InputError, match="must hold the study that this sweep began, but got none with the 4 trials of"):
        Study(search, tmp_path / "out")


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("redis://h/0", "storage: must be a journal's path or a database's URL, but got 'redis://h/0'; write a path, or "),
        ("sqlite://", "storage: must name a file, for a sweep that is to be continued, but got 'sqlite://'"),
        ("journal:///", "storage: must name the journal's file, but got 'journal:///'"),
        ("sqlite:///{}/mlflow.db", "storage: must not be MLflow's own database"),
        ("sqlite:///{}/text.db", "storage: must be a database that answers and can be written, but got sqlite:///"),
        ("{}/folder", "storage: must name a file, but got the folder"),
        ("postgresql+nodriver://u:secret@h/x", "storage: must be a URL that SQLAlchemy reads, but got postgresql+nodriver://u:***@h/x"),
        ("mysql+mysqldb://u:secret@h/x", "storage: must come with its driver installed, but got mysql+mysqldb://u:***@h/x"),
        ("postgresql+psycopg://u:secret@127.0.0.1:9/x", "storage: must be a database that answers and can be written, but got "
         "postgresql+psycopg://u:***@127.0.0.1:9/x (connection"),
    ],
)  # fmt: skip
def test_a_bad_storage_is_told_before_anything_starts(tmp_path: Path, written: str, told: str) -> None:
    (tmp_path / "text.db").write_text("no database, but a text that is longer than the header of one: " * 20)
    (tmp_path / "folder").mkdir()
    sets = [f"storage={written.format(tmp_path)}", f"mlflow.tracking_uri=sqlite:///{tmp_path}/mlflow.db"]
    start = time.monotonic()
    with pytest.raises(InputError) as caught:
        checked_sweep(write(tmp_path), sets, str(tmp_path / "out"), None, None)
    [problem] = caught.value.diagnostics
    assert told in str(problem) and "secret" not in str(problem) and time.monotonic() - start < 20
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("storage", ["sqlite:///~/study.db", "~/study.db"])
def test_a_tilde_is_the_home_folder_in_every_place_and_no_folder_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, storage: str
) -> None:
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(here)
    sets = [f"storage={storage}", "mlflow.tracking_uri=sqlite:///~/mlflow.db"]
    checked = checked_sweep(write(here), sets, "~/x", None, None)
    assert checked.output == f"{home}/x" and checked.plan is not None
    assert checked.plan.tracking_uri == f"sqlite:///{home}/mlflow.db"
    Study(checked.plan, Path(checked.output)).close()
    assert (home / "study.db").is_file() and (home / "x").is_dir()
    assert not [path for path in tmp_path.rglob("*") if "~" in path.name]


def test_relative_places_are_those_of_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert plan(tmp_path).storage is None
    assert plan(tmp_path, "storage=sqlite:///a/study.db").storage == f"sqlite:///{tmp_path}/a/study.db"
    assert plan(tmp_path, "storage=all.journal").storage == f"journal://{tmp_path}/all.journal"
    assert plan(tmp_path, "storage=postgresql://u:p@h/x").storage == "postgresql://u:p@h/x"
    assert masked("postgresql://h/x?user=u&password=p&sslmode=require") == "postgresql://h/x?user=u&password=***&sslmode=require"


@pytest.fixture
def postgres() -> Iterator[Server]:
    if (binaries := installed()) is None:
        pytest.skip("PostgreSQL is not installed")
    with serving(binaries) as server:
        yield server


def test_a_study_in_postgresql_is_one_process_at_a_time_outlasts_a_restart_and_keeps_no_password(
    tmp_path: Path, postgres: Server
) -> None:
    search = plan(tmp_path, f"storage={postgres.url}", "trials=4")
    with Study(search, tmp_path / "out") as study:
        study.tell(study.ask().number, [1.0, 2.0], GOOD)
        second = study.ask()
        shutil.copytree(tmp_path / "out", tmp_path / "copy")
        busy = r"must not be in use by another sweep, but got the study .* at postgresql\+psycopg://u:\*\*\*@"
        with pytest.raises(InputError, match=busy):
            Study(search, tmp_path / "copy")
    with Study(search, tmp_path / "copy") as study:
        assert study.unfinished() == [second] and study.states == {0: "complete", 1: "running"}
        postgres.stop()
        later = threading.Timer(1.5, postgres.start)
        later.start()
        assert study.tell(1, [1.0, 2.0], GOOD) == "complete"
        later.join()
        assert study.ask().number == 2
    assert all(b"secret" not in each.read_bytes() for each in tmp_path.rglob("*") if each.is_file() and each.suffix != ".yaml")
