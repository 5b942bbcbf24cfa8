"""Who began a run, from what, against real git repositories."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from dualsweep.sweeps.tracking.origin import COMMIT, commit_of, origin


def git(folder: Path, *arguments: str) -> str:
    words = ["git", "-C", str(folder), "-c", "user.name=Ann", "-c", "user.email=ann@example.org", *arguments]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "sweep.yaml").write_text("name: x\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    return tmp_path


def test_a_run_has_the_commit_of_its_files_repository_wherever_it_is_begun(
    repository: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    monkeypatch.setenv("LOGNAME", "ann")
    file = str(repository / "below" / "sweep.yaml")
    tags = origin(file)
    assert tags == {
        "mlflow.user": "ann", "mlflow.source.name": file, "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": git(repository, "rev-parse", "HEAD"), "dualsweep.git.changed": "false",
    }  # fmt: skip
    (repository / "of my own").write_text("which git does not follow")
    assert origin(file) == tags
    Path(file).write_text("name: y\n")
    assert origin(file) == {**tags, "dualsweep.git.changed": "true"}


def test_without_a_repository_and_before_a_first_commit_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert commit_of(tmp_path) == "" == commit_of(tmp_path / "not-there") and not any("git" in key for key in origin(""))
    git(tmp_path, "init", "-q")
    assert commit_of(tmp_path) == ""


def test_a_job_has_the_commit_that_was_submitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its copy of the repository has no history."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", json.dumps({"metadata": {"job_submission_id": "raysubmit_x"}}))
    monkeypatch.setenv(COMMIT, "0123abc+changed")
    tags = origin("sweep.yaml")
    assert tags["mlflow.source.type"] == "JOB"
    assert (tags["mlflow.source.git.commit"], tags["dualsweep.git.changed"]) == ("0123abc", "true")
