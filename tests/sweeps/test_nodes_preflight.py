"""What is advised where nodes do not see each other's files."""

from __future__ import annotations

from pathlib import Path

import pytest

from dualsweep.sweeps.nodes_preflight import shared_place


@pytest.mark.parametrize("in_job", [True, False])
def test_the_variable_is_named_only_where_it_does_something(
    in_job: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Elsewhere than in a job's working directory relative places are those of the working directory."""
    folder = tmp_path / "runtime_resources" / "working_dir_files" / "_ray_pkg_1" if in_job else tmp_path
    folder.mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("DUALSWEEP_STORAGE", raising=False)
    assert "say --output with a folder that all nodes share" in shared_place()
    assert ("DUALSWEEP_STORAGE" in shared_place()) is in_job
