"""A sweep that has ended, shared by the tests of what becomes of its files."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.sweeps.in_process import again, finished


@pytest.fixture(scope="session")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two trials of two trainings each, delivered and reviewed."""
    folder = finished(tmp_path_factory.mktemp("ended"), seeds=2, trials=2)
    again(folder)
    return folder


@pytest.fixture
def moved(ended: Path, tmp_path: Path) -> Path:
    """All of it in another folder."""
    return Path(shutil.copytree(ended, tmp_path / "elsewhere", symlinks=True))
