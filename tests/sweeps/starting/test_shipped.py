"""`init` and `schema` and what shells complete: what a user begins with, outside a checkout."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import dualsweep
from dualsweep.sweeps.planning.load import load_plan
from dualsweep.sweeps.starting.shipped import shipped
from dualsweep.trainer.recipe.load import load_recipe
from tests.sweeps.here import dualsweep_here

ROOT = Path(__file__).parents[3]


def test_without_a_name_it_lists_every_shipped_file_with_what_it_is_for(tmp_path: Path) -> None:
    done = dualsweep_here("init", folder=tmp_path)
    told = {line.split()[0]: line for line in done.stdout.splitlines()[:-1]}
    assert done.returncode == 0 and list(tmp_path.iterdir()) == []
    assert set(told) == {path.stem for path in ROOT.glob("sweeps/recipes/*.yaml")} | {
        f"{path.stem}-sweep" for path in ROOT.glob("sweeps/*.yaml")
    }
    assert all(len(line.split()) > 4 for line in told.values())


@pytest.mark.parametrize("name", list(shipped()))
def test_a_copy_has_its_comments_and_all_it_needs(name: str, tmp_path: Path) -> None:
    assert dualsweep_here("init", name, folder=tmp_path).returncode == 0
    copied = {path.name: path.read_text() for path in tmp_path.glob("*.yaml")}
    original = (
        ROOT / "sweeps" / (f"{name.removesuffix('-sweep')}.yaml" if name.endswith("-sweep") else f"recipes/{name}.yaml")
    ).read_text().replace("sweeps/recipes/", "").replace("recipes/", "").splitlines()  # fmt: skip
    assert copied[f"{name}.yaml"].splitlines()[1:] == original
    for text in copied.values():
        schema = text.splitlines()[0].removeprefix("# yaml-language-server: $schema=")
        assert json.loads((tmp_path / schema).read_text())["$schema"].endswith("2020-12/schema")
        commands = [line.split()[3] for line in text.splitlines() if line.startswith("#   dualsweep train")]
        assert all(file in copied for file in commands)


@pytest.mark.parametrize("name", [f"{path.stem}-sweep" for path in sorted(ROOT.glob("sweeps/*.yaml"))])
def test_a_copied_sweep_is_found_good_where_it_lies(name: str, tmp_path: Path) -> None:
    assert dualsweep_here("init", name, "--output", "mine", folder=tmp_path).returncode == 0
    done = dualsweep_here("check", f"mine/{name}.yaml", folder=tmp_path)
    files = sorted((tmp_path / "mine").glob("*.yaml"))
    if name in ("mnist-fine-tuning-sweep", "thresholds-sweep"):  # which start from a model that another recipe makes
        assert done.returncode == 2 and done.stderr.count("\n") == 1 and "first train what makes it" in done.stderr
    else:
        assert done.returncode == 0 and "is good" in done.stdout
    assert len({yaml.safe_load(path.read_text())["name"] for path in files}) == len(files) > 1  # each has a folder of its own


def test_the_script_that_makes_the_data_is_copied_and_told(tmp_path: Path) -> None:
    """Also by a recipe that starts from what another makes of these data."""
    for name, script, then in (
        ("bold", "bold_digits.py", "check"), ("captions-adapters", "captioned_digits.py", "train 'my data/captions.yaml'")
    ):  # fmt: skip
        done = dualsweep_here("init", name, "--output", "my data", folder=tmp_path)
        assert done.returncode == 0 and f"next:    python 'my data/{script}'; dualsweep {then}" in done.stdout
        assert (tmp_path / "my data" / script).read_text() == (ROOT / "sweeps/recipes" / script).read_text()
        assert f"#   python {script}" in "".join(path.read_text() for path in (tmp_path / "my data").glob("*.yaml"))


@pytest.mark.parametrize("name", list(shipped()))
def test_what_is_told_to_be_done_next_makes_every_model_before_it_is_loaded(name: str, tmp_path: Path) -> None:
    done = dualsweep_here("init", name, "--output", "my own", folder=tmp_path)
    told = done.stdout.splitlines()[-1].removeprefix("next:    ")
    commands = [shlex.split(each) for each in told.split("; ")]
    made: set[str] = set()
    for program, *arguments in commands:
        if program == "python":
            assert (tmp_path / arguments[0]).exists()
            continue
        word, file, *options = arguments
        path, sets = tmp_path / file, options[1::2]
        recipe = load_plan(path).recipe if path.stem.endswith("-sweep") else load_recipe(path, sets)[0]
        assert program == "dualsweep" and set(options[::2]) <= {"--set"}
        assert set(re.findall(r"runs/([\w-]+)", recipe.model_dump_json())) <= made, told
        if word == "train":
            made.add(recipe.name)
    begun_by = "sweep" if name.endswith("-sweep") else "train"
    assert [each[1:] for each in commands[-2:]] == [["check", f"my own/{name}.yaml"], [begun_by, f"my own/{name}.yaml"]]


def test_nothing_is_ever_overwritten(tmp_path: Path) -> None:
    (tmp_path / "pretraining.yaml").write_text("mine")
    done = dualsweep_here("init", "alignment", folder=tmp_path)
    assert done.returncode == 0 and "kept:    pretraining.yaml" in done.stdout
    (tmp_path / "alignment.yaml").write_text("mine too")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    done = dualsweep_here("init", "alignment.yaml", folder=tmp_path)
    assert done.returncode == 2 and "must be a place that is free, but got alignment.yaml" in done.stderr
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_file_is_no_folder_to_copy_into(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine")
    for place in ("taken", "taken/below"):
        done = dualsweep_here("init", "digits", "--output", place, folder=tmp_path)
        assert done.returncode == 2 and "Traceback" not in done.stderr and place in done.stderr, done
    assert (tmp_path / "taken").read_text() == "mine"


def test_an_unknown_name_writes_nothing(tmp_path: Path) -> None:
    done = dualsweep_here("init", "allignment", folder=tmp_path)
    assert done.returncode == 2 and "did you mean `alignment`" in done.stderr and list(tmp_path.iterdir()) == []


def test_the_schema_is_printed_as_init_writes_it(tmp_path: Path) -> None:
    assert dualsweep_here("init", "digits-sweep", folder=tmp_path).returncode == 0
    for kind in ("recipe", "sweep"):
        done = dualsweep_here("schema", kind, folder=tmp_path)
        assert done.returncode == 0 and done.stdout == (tmp_path / f"dualsweep-{kind}.schema.json").read_text()
    refused = dualsweep_here("schema", "plan", folder=tmp_path)
    assert refused.returncode == 2 and "must be recipe or sweep, but got 'plan'" in refused.stderr


def test_the_version_is_the_packages(tmp_path: Path) -> None:
    done = dualsweep_here("--version", folder=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"dualsweep {dualsweep.__version__}\n")


@pytest.mark.parametrize(
    ("line", "completed"),
    [("dualsweep ini", ["init"]), ("dualsweep init di", ["digits-sweep", "digits"]), ("dualsweep schema s", ["sweep"]),
     ("dualsweep sample x --sampler dd", ["ddim", "ddpm"]), ("dualsweep compare --group a", ["auto"])],
)  # fmt: skip
def test_a_shell_completes_commands_and_words(line: str, completed: list[str]) -> None:
    asked = {"_DUALSWEEP_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split()) - 1)}
    command = [str(Path(sys.executable).parent / "dualsweep")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **asked})
    assert done.stdout.split() == completed, done.stderr
