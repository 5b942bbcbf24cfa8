"""What the program is imported as: one name a module, under `dualsweep` alone, in a checkout, a wheel, a copy without links."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.house import ROOMS

ROOT = Path(__file__).parent.parent
#: A user's file that a strict type checker is asked about: `dualsweep` must be known to it, and none of it `Any`.
TYPED = """
import dualsweep
from dualsweep.trainer import load_recipe
from dualsweep.trainer.result import Result

reveal_type(dualsweep.train)
reveal_type(dualsweep.train("r.yaml", set={"train.steps": 3}).samples(4))
reveal_type(dualsweep.sweep({}).to_dataframe)
reveal_type(dualsweep.load("runs/a"))
reveal_type(dualsweep.front("a"))
reveal_type(dualsweep.load_plan)
reveal_type(load_recipe)


def slack(result: Result, name: str) -> float:
    return result.constraints[name].slack
"""
#: Libraries are skipped for time: none of their types is asked about.
STRICT = """
[mypy]
strict = True
follow_imports = silent
[mypy-torch.*,ray.*,numpy.*,pandas.*,mlflow.*,optuna.*,diffusers.*,scipy.*,plotly.*,matplotlib.*,pydantic.*,rich.*,typer.*,sqlalchemy.*,PIL.*]
follow_imports = skip
"""
REVEALED = (
    "def (recipe: str | pathlib.Path | typing.Mapping[str, Any] | dualsweep.trainer.recipe.recipe.Recipe",
    "dualsweep.sweeps.python.run.Run | dualsweep.sweeps.python.swept.Swept",
    '"dualsweep.sweeps.python.drawn_front.Front"',
    "-> dualsweep.sweeps.planning.plan.Plan",
    "-> tuple[dualsweep.",
)


def python(code: str, folder: Path, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("room", ROOMS)
@pytest.mark.parametrize("place", ["elsewhere", "in the checkout"])
def test_a_bare_name_is_importable_nowhere(room: str, place: str, tmp_path: Path) -> None:
    code = f"try: import {room}\nexcept ModuleNotFoundError as error: print(error)\nelse: print('it came')"
    said = python(code, ROOT if place == "in the checkout" else tmp_path)
    assert said == (
        f"`{room}` is a room of dualsweep: import it as `dualsweep.{room}`"
        if place != "elsewhere"
        else f"No module named '{room}'"
    )


def test_no_module_is_imported_under_two_names() -> None:
    """All of them, with the working directory on the path as `python -m` puts it there: no file is behind two names."""
    code = """
import importlib, os, pkgutil, sys
import dualsweep
for module in pkgutil.walk_packages(dualsweep.__path__, "dualsweep."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
names = {}
for name, module in list(sys.modules.items()):
    file = os.path.realpath(getattr(module, "__file__", None) or "")
    if os.path.isfile(file) and file.startswith(os.getcwd() + os.sep) and ".venv" not in file:
        names.setdefault(file, set()).add(name)
print(len(names) > 200, sorted(each for each in names.values() if len(each) > 1 or not min(each).startswith("dualsweep")))
"""
    assert python(code, ROOT) == "True []"


@pytest.mark.parametrize("place", ["elsewhere", "in the checkout"])
def test_the_loader_that_models_of_0_1_name_is_the_one_that_exists(place: str, tmp_path: Path) -> None:
    code = """
import dualsweep, importlib
from dualsweep.sweeps.tracking import sampling_model as new
import sweeps.tracking.sampling_model as old
print(old is new, new.__name__, new.__spec__.name, end=" ")
for name in ("sweeps.cli", "sweeps.tracking.models", "trainer", "analysis"):
    try: importlib.import_module(name)
    except ModuleNotFoundError: print("no", end=" ")
"""
    name = "dualsweep.sweeps.tracking.sampling_model"
    assert python(code, ROOT if place == "in the checkout" else tmp_path) == f"True {name} {name} no no no no"


def test_a_users_own_module_of_that_name_wins(tmp_path: Path) -> None:
    (tmp_path / "sweeps" / "tracking").mkdir(parents=True)
    (tmp_path / "sweeps" / "tracking" / "sampling_model.py").write_text("WHOSE = 'the user'")
    assert python("import dualsweep, sweeps.tracking.sampling_model as own; print(own.WHOSE)", tmp_path) == "the user"


#: What nothing of ours may import in the place of a room, and a part of the user's that has the name of one.
NAMED_LIKE_ROOMS = {
    **dict.fromkeys(("trainer.py", "sweeps.py", "cluster.py"), "raise AssertionError('nobody asked for this module')"),
    "analysis/__init__.py": "",
    "analysis/metrics.py": "from pathlib import Path\n\ndef m(evidence):\n    Path('asked').touch()\n    return {'mine': 1.0}\n",
}
SMALL = """
name: r
formulation: constrained_training
model: {unet: {channels: [8, 16]}}
schedule: {timesteps: 20}
data: {source: digits}
constraints: [{name: four, data: {classes: [4]}, at_most: 0.3}]
train: {steps: 10, batch_size: 8}
evaluation: {samples: 4, sample_steps: 3, loss_draws: 32, metrics: ['analysis.metrics:m']}
"""


@pytest.mark.parametrize("entrance", [["dualsweep", "check", "r.yaml"], ["python", "-m", "dualsweep", "check", "s.yaml"]])
def test_a_users_own_modules_named_like_rooms_are_in_nobodys_way_and_found(entrance: list[str], tmp_path: Path) -> None:
    """A dry run asks what a training would; tests/pipeline/ has `train`, `sweep` and `submit` among such modules."""
    for name, text in {**NAMED_LIKE_ROOMS, "r.yaml": SMALL}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "s.yaml").write_text("name: s\nrecipe: r.yaml\nsearch: {dual.step_size: {log_uniform: [0.01, 0.1]}}\ntrials: 2\n")
    command = [str(Path(sys.executable).parent / entrance[0]), *entrance[1:], "--dry-run"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and " is good" in done.stdout, done.stderr
    assert (tmp_path / "asked").exists()


#: Starts no Ray: the refusal comes first. The checkout's own package is what `dualsweep` is by then.
FROM_PYTHON = """
import sys
import dualsweep
sys.path.insert(0, "")
try: dualsweep.train(dualsweep.load_recipe("r.yaml")[0])
except dualsweep.InputError as error: sys.exit(f"{error}") if len(error.diagnostics) == 1 else None
"""


@pytest.mark.parametrize(
    ("name", "entrance", "code"),
    [
        ("dualsweep.py", ["dualsweep", "check", "r.yaml"], 2),
        ("dualsweep/__init__.py", ["dualsweep", "check", "r.yaml"], 2),
        ("dualsweep.py", ["dualsweep", "train", "r.yaml"], 2),
        ("dualsweep.py", ["dualsweep", "submit", "r.yaml", "--address", "http://127.0.0.1:1"], 2),
        ("dualsweep.py", ["python", "../from_python.py"], 1),
    ],
)
def test_a_users_own_dualsweep_is_refused_by_name(name: str, entrance: list[str], code: int, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    (folder / name).parent.mkdir(parents=True)
    (folder / name).write_text("")
    (tmp_path / "from_python.py").write_text(FROM_PYTHON)
    shutil.copy(ROOT / "sweeps" / "recipes" / "digits.yaml", folder / "r.yaml")
    command = [str(Path(sys.executable).parent / entrance[0]), *entrance[1:]]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert f"but got {folder / name.split('/')[0]}; rename it" in done.stderr and "no other module" in done.stderr


def test_a_copy_that_lost_its_links_works(tmp_path: Path) -> None:
    """As Ray unpacks a zip archive of the repository: a link becomes a file that holds its target."""
    for room in ROOMS:
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "dualsweep").mkdir()
    for file in (ROOT / "dualsweep").glob("*.py"):
        shutil.copy(file, tmp_path / "dualsweep")
    for room in ROOMS:
        (tmp_path / "dualsweep" / room).write_text(f"../{room}")
    code = "import dualsweep.sweeps.cli, dualsweep; print(dualsweep.sweeps.cli.__file__); dualsweep.load_plan"
    assert python(code, tmp_path) == str(tmp_path / "sweeps" / "cli.py")


def checked(file: Path, *options: str) -> str:
    command = [sys.executable, "-m", "mypy", *options, file.name]
    return subprocess.run(command, cwd=file.parent, capture_output=True, text=True, check=False).stdout


@pytest.fixture
def typed(tmp_path: Path) -> Path:
    (tmp_path / "user").mkdir()
    (tmp_path / "user" / "mine.py").write_text(TYPED)
    (tmp_path / "user" / "mypy.ini").write_text(STRICT)
    return tmp_path / "user" / "mine.py"


@pytest.mark.slow
def test_a_type_checker_knows_the_program_in_a_checkout_that_is_set_up(typed: Path) -> None:
    said = checked(typed)
    assert "Success" in said and all(each in said for each in REVEALED), said


@pytest.mark.slow
@pytest.mark.dear  # a checkout is asked for the same below, and docs/test_first_steps.py lives with the wheel
def test_the_wheel_holds_the_rooms_in_one_package_that_a_type_checker_knows(typed: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "--", ":!tests", ":!docs"], capture_output=True, text=True, check=True
    )
    for name in listed.stdout.split():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name, follow_symlinks=False)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "-w",
        str(tmp_path),
        str(source),
    ]
    subprocess.run(command, check=True, capture_output=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
    (site,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    (wheel,) = tmp_path.glob("dualsweep-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(site)
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"dualsweep"}
    packed = {
        name.removeprefix("dualsweep/") for name in names if name.startswith("dualsweep/") and not name.endswith("py.typed")
    }
    there = {str(path.relative_to(source)) for room in ROOMS for path in (source / room).rglob("*") if path.is_file()}
    assert packed - there == {path.name for path in (ROOT / "dualsweep").glob("*.py")} and there <= packed
    libraries = {path for path in sys.path if path.endswith("-packages")}
    (site / "libraries.pth").write_text("\n".join(libraries))
    said = checked(typed, "--python-executable", str(tmp_path / "venv" / "bin" / "python"))
    assert "Success" in said and all(each in said for each in REVEALED), said
    code = "import dualsweep; from dualsweep.sweeps.cli import app; print(dualsweep.__file__, dualsweep.__version__)"
    completed = subprocess.run(
        [str(tmp_path / "venv/bin/python"), "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert completed.stdout.split()[0] == str(site / "dualsweep" / "__init__.py")
    started = [str(tmp_path / "venv/bin/python"), "-m", "dualsweep", "init", "alignment", "--output", str(tmp_path / "mine")]
    subprocess.run(started, check=True, capture_output=True, cwd=tmp_path)
    assert (tmp_path / "mine" / "alignment.yaml").exists() and (tmp_path / "mine" / "dualsweep-recipe.schema.json").exists()
