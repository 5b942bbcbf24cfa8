"""Which imported modules of the user's have changed since."""

from __future__ import annotations

import importlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dualsweep.trainer.ray_shell.own_modules import OwnModules


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module of the user's that was written a while ago, not imported yet."""
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "mine_and_nobody_elses.py"
    path.write_text("A = 1\n")
    before = time.time() - 100
    os.utime(path, (before, before))
    yield path
    sys.modules.pop(path.stem, None)


def noted(file: Path, since: float) -> OwnModules:
    importlib.import_module(file.stem)
    modules = OwnModules()
    modules.note(since)
    return modules


def test_one_that_stays_is_not_edited_and_libraries_are_nobodys(file: Path) -> None:
    modules = noted(file, time.time())
    assert file.stem not in modules.edited()
    assert not [name for name in modules._seen if name.split(".")[0] in ("torch", "dualsweep", "json", "numpy")]
    assert file.stem in modules._seen


def test_what_a_library_writes_elsewhere_is_the_librarys(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As torch does with what it compiles."""
    compiled = importlib.import_module(file.stem)
    monkeypatch.setitem(sys.modules, f"pytest.{file.stem}", compiled)
    seen = noted(file, time.time())._seen
    assert file.stem in seen and f"pytest.{file.stem}" not in seen


@pytest.mark.parametrize("change", ["touched", "longer, of the same age", "gone"])
def test_one_that_changed_is_named(file: Path, change: str) -> None:
    modules, at = noted(file, time.time()), file.stat().st_mtime
    before = modules.edited()  # of other tests in this process, whose modules were written a moment ago
    if change == "touched":
        os.utime(file)
    elif change == "gone":
        file.unlink()
    else:
        file.write_text("A = 11\n")
        os.utime(file, (at, at))
    assert file.stem not in before and set(modules.edited()) - set(before) == {file.stem}


def test_one_that_changed_while_it_may_have_been_imported_already_is_not_trusted(file: Path) -> None:
    assert file.stem in noted(file, file.stat().st_mtime - 1).edited()
