"""A recipe's or a sweep's file leads to the run that its command wrote."""

from __future__ import annotations

from pathlib import Path

import pytest

from dualsweep.sweeps.records.run_of_file import run_of_file
from dualsweep.trainer.config.diagnostics import InputError


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a training and a sweep, and a file of each; what else the files hold is not looked at."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs/faces").mkdir(parents=True)
    (tmp_path / "runs/faces/fingerprint").touch()
    (tmp_path / "runs/faces-budgets/records").mkdir(parents=True)
    for name, text in (("recipe", "name: faces"), ("sweep", "name: faces-budgets\ntrials: many")):
        (tmp_path / f"{name}.yaml").write_text(f"{text}\n")
    return tmp_path


def test_a_file_leads_to_the_folder_of_its_name(project: Path) -> None:
    assert run_of_file("recipe.yaml") == str(project / "runs/faces")
    assert run_of_file(f"{project}/sweep.yaml") == str(project / "runs/faces-budgets")


@pytest.mark.parametrize("place", ["runs/faces", "s3://bucket/faces.yaml", "runs/none", "0123456789abcdef0123456789abcdef"])
def test_any_other_place_is_its_own(place: str, project: Path) -> None:
    assert run_of_file(place) == place


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a b.yaml", "name: other", "a training in {}/runs/other unless --output named another folder, but got a b.yaml, and "
         "there is none; give the output folder that it has, or first: dualsweep train 'a b.yaml'"),
        ("s.yml", "name: other\nsearch: {}", "or first: dualsweep sweep s.yml"),
        ("s.yml", "name: faces\nsearch: {}", "and there is a training; give"),
        ("r.yaml", "name: faces-budgets", "and there is a sweep; give"),
        ("r.yaml", "formulation: a", "r.yaml:1: name: must be there to find the run of this file by"),
        ("r.yaml", "name: [a]", "r.yaml:1: name: must be there to find the run of this file by"),
    ],
)  # fmt: skip
def test_one_that_has_no_run_is_refused_with_the_way_out(name: str, text: str, said: str, project: Path) -> None:
    (project / name).write_text(f"{text}\n")
    with pytest.raises(InputError) as refused:
        run_of_file(name)
    assert said.format(project) in str(refused.value)


def test_one_that_is_not_there_is_told(project: Path) -> None:
    with pytest.raises(InputError, match="must exist"):
        run_of_file("recepi.yaml")
