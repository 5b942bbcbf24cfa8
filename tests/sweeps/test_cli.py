"""The command line on bad input: exit code 2, the message's form, nothing written, no Ray."""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest
from PIL import Image

from tests.stores import empty_store
from tests.sweeps.here import dualsweep_here

ROOT = Path(__file__).parent.parent.parent
RECIPE = """\
name: tiny
formulation: constrained_training
model: {unet: {channels: [8, 16]}}
data: {source: digits, keep: {4: 0.1}}
constraints:
  - {name: four, data: {classes: [4]}, at_most: 0.12}
  - {name: five, data: {classes: [5]}, at_most: 0.12}
dual: {rule: ascent, step_size: 0.03}
train: {steps: 20, batch_size: 16}
"""
SWEEP = """\
name: tiny
recipe: recipe.yaml
search:
  dual.step_size: {log_uniform: [0.003, 0.3]}
  constraints.*.at_most: {uniform: [0.08, 0.25]}
trials: 2
sampler: {name: random}
"""
FORM = re.compile(r"^(?P<file>[^:]+):(?P<line>\d+): (?P<key>[^:]+): .+, but got .+; .+$")

#: what is changed (file, old, new), and what the message must name: line and key.
CASES = {
    "unknown key": ("recipe.yaml", "train: {steps", "tran: {steps", 9, "tran", "did you mean `train`"),
    "misspelt key": ("recipe.yaml", "step_size", "step_sise", 8, "dual.step_sise", "did you mean `step_size`"),
    "wrong type": ("recipe.yaml", "steps: 20", "steps: many", 9, "train.steps", "integer"),
    "missing key": ("recipe.yaml", "formulation: constrained_training\n", "", 1, "formulation", "is required"),
    "missing constraint data": ("recipe.yaml", "data: {classes: [4]}, ", "", 6, "constraints.0", "exactly one of"),
    "more sampler steps than the schedule has": (
        "recipe.yaml", "train: {", "evaluation: {sample_steps: 300}\ntrain: {", 9, "evaluation.sample_steps", "at most"
    ),
    "duplicate constraint": ("recipe.yaml", "name: five", "name: four", 7, "constraints.1.name", "unique"),
    "budget not finite": ("recipe.yaml", "at_most: 0.12}\n  - {name: five", "at_most: .nan}\n  - {name: five", 6, "constraints.0.at_most", "finite"),
    "unknown class": ("recipe.yaml", "classes: [5]", "classes: [15]", 7, "constraints.1.data.classes.0", "15"),
    "empty data": ("recipe.yaml", "keep: {4: 0.1}", "keep: {4: 0.0}", 6, "constraints.0.data.classes", "none for [4]"),
    "not YAML": ("recipe.yaml", "data: {source", "data: {{source", 5, "file", "YAML"),
    "call that does not import": ("recipe.yaml", "{unet: {channels: [8, 16]}}", "{call: no_such_module:build}", 3, "model.call", "no_such_module"),
    "call that is not callable": ("recipe.yaml", "{unet: {channels: [8, 16]}}", "{call: math:pi}", 3, "model.call", "cannot be called"),
    "zero workers": ("recipe.yaml", "batch_size: 16}", "batch_size: 16}\nresources: {workers: 0}", 10, "resources.workers", "whole number from 1"),
    "too many workers": ("recipe.yaml", "batch_size: 16}", "batch_size: 600}\nresources: {workers: 512}", 10, "resources.workers", "512"),
    "range reversed": ("sweep.yaml", "[0.08, 0.25]", "[0.25, 0.08]", 5, "search.constraints.*.at_most.uniform", "0.25"),
    "log range touching zero": ("sweep.yaml", "[0.003, 0.3]", "[0, 0.3]", 4, "search.dual.step_size.log_uniform", "above zero"),
    "unknown sampler": ("sweep.yaml", "name: random", "name: tpee", 7, "sampler.name", "did you mean `tpe`"),
    "zero trials": ("sweep.yaml", "trials: 2", "trials: 0", 6, "trials", "greater than or equal to 1"),
    "recipe that does not exist": ("sweep.yaml", "recipe: recipe.yaml", "recipe: recipee.yaml", 2, "recipe", "recipee.yaml"),
    "search of an unknown key": ("sweep.yaml", "dual.step_size", "dual.step_sise", 4, "search.dual.step_sise", "step_size"),
    "unknown objective direction": ("sweep.yaml", "trials: 2", "trials: 2\nobjectives: {objective: minimise}", 7, "objectives.objective", "minimize"),
}  # fmt: skip


def dualsweep(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dualsweep", *arguments]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=60
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    return tmp_path


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_told_by_line_and_key_and_nothing_is_written(folder, case):
    file, old, new, line, key, says = CASES[case]
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new, 1))
    before = sorted(folder.rglob("*"))
    with mock.patch("ray.init", side_effect=AssertionError("Ray must not start")):
        done = dualsweep_here("sweep", "sweep.yaml", folder=folder)
    assert done.returncode == 2, done.stderr
    found = [FORM.match(each) for each in done.stderr.strip().splitlines()]
    assert all(found), done.stderr
    named = {(each["file"], int(each["line"]), each["key"]) for each in found if each}
    assert any(each[0].endswith(file) and each[1:] == (line, key) for each in named), done.stderr
    assert says in done.stderr and done.stdout == ""
    assert [each for each in sorted(folder.rglob("*")) if "__pycache__" not in str(each)] == before


@pytest.mark.parametrize(
    "command",
    ["sample runs/x --output", "front x --output", "compare x --output", "init digits --output", "train recipe.yaml --json",
     "sweep sweep.yaml --json", "front x --json", "compare x --json", "explain runs/x --json", "status --json",
     "cluster status --state"],
)  # fmt: skip
@pytest.mark.parametrize("place", ["s3://bucket/x", "file://elsewhere/x"])
def test_a_uri_is_no_place_for_what_is_written_on_this_machine(folder, command, place):
    before = sorted(folder.rglob("*"))
    done = dualsweep_here(*command.split(), place, folder=folder)
    option = command.split()[-1]
    rule = "must be a file: URI of this machine" if place.startswith("file:") else "of this machine, but got "
    assert done.returncode == 2 and f"command line:1: {option}: " in done.stderr and rule in done.stderr, done
    assert place in done.stderr and sorted(folder.rglob("*")) == before


def test_all_problems_of_both_files_come_at_once(folder):
    (folder / "recipe.yaml").write_text(RECIPE.replace("step_size: 0.03", "step_size: -1").replace("steps: 20", "steps: 0"))
    (folder / "sweep.yaml").write_text(SWEEP.replace("trials: 2", "trials: -2"))
    done = dualsweep("check", "sweep.yaml", folder=folder)
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 3


@pytest.mark.parametrize("place", ["file-in-the-way/run", "/proc/run"])
def test_an_unwritable_output_is_refused_even_for_root(folder, place):
    (folder / "file-in-the-way").write_text("")
    for command in (["train", "recipe.yaml"], ["sweep", "sweep.yaml"]):
        done = dualsweep_here(*command, "--output", place, folder=folder)
        assert done.returncode == 2 and "--output: must be a place that can be written" in done.stderr


@pytest.mark.parametrize("kind", ["of another MLflow", "no database"])
@pytest.mark.parametrize(
    "command", ["front tiny", "compare tiny other", f"explain {'0' * 32}", "check sweep.yaml", "sweep sweep.yaml"]
)
def test_a_store_that_mlflow_cannot_read_is_told_in_one_line_before_anything_is_trained(folder, kind, command):
    file = folder / "mlflow.db"
    if kind == "no database":
        file.write_bytes(b"no database, but a text that is longer than the header of one: " * 20)
    else:
        empty_store(folder)
        with contextlib.closing(sqlite3.connect(file)) as connection:
            connection.execute("update alembic_version set version_num = 'bd07f7e963c5'")
            connection.commit()
    with mock.patch("ray.init", side_effect=AssertionError("Ray must not start")):
        done = dualsweep_here(*command.split(), folder=folder)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2 and done.stdout == "" and not (folder / "runs").exists()
    assert "`mlflow db upgrade sqlite:///" in line if kind == "of another MLflow" else "must be an SQLite database" in line


def test_yaml_is_loaded_safely(folder):
    (folder / "recipe.yaml").write_text("name: !!python/object/apply:os.system ['touch owned']\n" + RECIPE.partition("\n")[2])
    done = dualsweep_here("check", "recipe.yaml", folder=folder)
    assert done.returncode == 2 and not (folder / "owned").exists()


def test_check_prints_the_resolved_plan(folder):
    done = dualsweep_here("check", "sweep.yaml", "--set", "trials=7", "--set", "train.lr=1e-4", folder=folder)
    assert done.returncode == 0, done.stderr
    for words in ("trials        7", "dual.step_size: log_uniform", "side by side", "train.lr = 0.0001", "experiment `tiny`"):
        assert words in done.stdout
    assert not (folder / "runs").exists()


def test_check_shows_the_keys_that_are_of_use_and_all_of_them_when_asked(folder):
    shown = dualsweep_here("check", "recipe.yaml", folder=folder).stdout
    everything = dualsweep_here("check", "recipe.yaml", "--all", folder=folder).stdout
    for key in ("rollout.steps", "product.samples", "train.constraint_batch", "dual.nu", "data.split"):
        assert f"    {key} = " not in shown and f"    {key} = " in everything
    assert set(shown.splitlines()) < set(everything.splitlines())


def test_a_dry_run_counts_parameters_and_a_light_check_does_not(folder):
    assert "parameters" not in dualsweep_here("check", "recipe.yaml", folder=folder).stdout
    done = dualsweep_here("check", "--dry-run", "recipe.yaml", folder=folder)
    assert done.returncode == 0 and " parameters, all trained" in done.stdout and not (folder / "runs").exists()


@pytest.mark.parametrize("command", ["train", "sweep"])
def test_a_wrong_part_is_told_before_anything_starts(folder, command):
    (folder / "bad_metric.py").write_text("def listed(evidence):\n    return [1.0]\n")
    file = "recipe.yaml" if command == "train" else "sweep.yaml"
    with mock.patch("ray.init", side_effect=AssertionError("Ray must not start")):
        done = dualsweep_here(command, file, "--set", "evaluation.metrics=['bad_metric:listed']", folder=folder)
    assert (
        done.returncode == 2 and "evaluation.metrics.0: the metric bad_metric:listed must return a dict of floats" in done.stderr
    )
    assert not (folder / "runs").exists()


def test_a_submit_says_what_it_takes_before_it_asks_the_server(folder):
    done = dualsweep_here("submit", "sweep.yaml", "--estimate", "--address", "http://127.0.0.1:1", folder=folder)
    assert done.returncode == 2 and "worker-hours in" in done.stdout and "job server" in done.stdout + done.stderr
    assert done.stdout.index("worker-hours") < done.stdout.index("job server")


def test_a_light_check_asks_no_part_and_no_dry_run_leaves_it_out(folder):
    (folder / "bad_metric.py").write_text("def listed(evidence):\n    return [1.0]\n")
    sets = ("--set", "evaluation.metrics=['bad_metric:listed']")
    assert dualsweep_here("check", "recipe.yaml", *sets, folder=folder).returncode == 0
    done = dualsweep_here("train", "recipe.yaml", *sets, "--no-dry-run", "--address", "127.0.0.1:1", folder=folder)
    assert done.returncode == 2 and "127.0.0.1:1" in done.stderr and "bad_metric" not in done.stderr


@pytest.mark.parametrize(("command", "begun"), [("train", "."), ("sweep", "trials/0001"), ("sweep", "trials/0001/seed-3")])
def test_what_goes_on_from_a_checkpoint_has_been_asked_before(folder, command, begun):
    """While another run beside it, which has none, is asked."""
    (folder / "bad_metric.py").write_text("def listed(evidence):\n    return [1.0]\n")
    (folder / "one" / begun / "checkpoints" / "step-00000010").mkdir(parents=True)
    (folder / "two" / begun / "checkpoints").mkdir(parents=True)
    file = "recipe.yaml" if command == "train" else "sweep.yaml"
    arguments = (command, file, "--set", "evaluation.metrics=['bad_metric:listed']", "--address", "127.0.0.1:1")
    said = [dualsweep_here(*arguments, "--output", name, folder=folder).stderr for name in ("one", "two")]
    assert ["bad_metric:listed must return" in each for each in said] == [False, True]
    assert "127.0.0.1:1" in said[0] and "127.0.0.1:1" not in said[1]


def test_a_light_check_of_a_folder_imports_no_torch(folder):
    for number in range(3):
        (folder / "images").mkdir(exist_ok=True)
        Image.new("RGB", (8, 8), (number, 255, 9)).save(folder / "images" / f"{number}.png")
    code = (
        "import sys, atexit\n"
        "from dualsweep.sweeps.entry import main\n"
        "atexit.register(lambda: print([each for each in ('torch', 'numpy', 'ray', 'mlflow', 'optuna') if each in sys.modules]))\n"
        "sys.argv = ['dualsweep', 'check', 'recipe.yaml', '--set', 'data={folder: images}', '--set', 'constraints=[]']\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    assert "3 examples [3, 8, 8] from -1 to 1" in done.stdout and done.stdout.splitlines()[-1] == "[]"


def test_an_override_with_a_mistake_is_named_as_such(folder):
    done = dualsweep_here("check", "recipe.yaml", "--set", "train.stepz=3", folder=folder)
    assert done.returncode == 2 and done.stderr.startswith("--set:1: train.stepz: must be a known key")


def test_an_unreachable_cluster_is_told_within_seconds(folder):
    for command in (["train", "recipe.yaml"], ["sweep", "sweep.yaml"]):
        done = dualsweep_here(*command, "--address", "127.0.0.1:1", folder=folder)
        assert done.returncode == 2 and "127.0.0.1:1" in done.stderr and not (folder / "runs").exists()
        assert not (folder / "mlflow.db").exists()


def test_sampling_from_nothing_is_refused(folder):
    done = dualsweep_here("sample", "no-such-checkpoint", "--count", "2", folder=folder)
    assert done.returncode == 2 and "no-such-checkpoint" in done.stderr
    assert not (folder / "samples").exists()


def test_a_working_directory_that_is_gone_is_told(tmp_path: Path) -> None:
    recipe = ROOT / "sweeps" / "recipes" / "digits.yaml"
    (tmp_path / "gone").mkdir()
    command = f"cd {tmp_path}/gone && rmdir ../gone && exec {sys.executable} -m dualsweep check {recipe}"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 2 and done.stderr == (
        "dualsweep: the working directory is gone, and relative places with it; cd to one that exists\n"
    )
