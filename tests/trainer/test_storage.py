"""Files are written whole or not at all, where they were asked for, and what refuses them is told by name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dualsweep.trainer.storage import write_file

ROOT = Path(__file__).parent.parent.parent


def test_a_file_that_does_not_fit_leaves_what_was_there_and_no_litter(tmp_path: Path) -> None:
    file = write_file(tmp_path / "x", "as it was λ")
    (tmp_path / ".x.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left on device") as caught:
        write_file(file, "new")
    assert caught.value.filename == str(file) and file.read_text(encoding="utf-8") == "as it was λ"
    assert [each.name for each in tmp_path.iterdir()] == ["x"]
    write_file(file, b"new", durable=True)
    assert file.read_bytes() == b"new" and [each.name for each in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("name", ["a" * 255, "é" * 127, ".hidden", "x.part", "sp ace?#%41"])
def test_any_name_of_a_file_will_do(tmp_path: Path, name: str) -> None:
    assert write_file(tmp_path / name, name).read_text(encoding="utf-8") == name
    assert [each.name for each in tmp_path.iterdir()] == [name]


def test_links_stay_links_also_to_what_is_not_there_yet(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "link").symlink_to("far/file")
    for text in ("first", "second"):
        write_file(tmp_path / "link", text)
        assert (tmp_path / "link").is_symlink() and (tmp_path / "far" / "file").read_text() == text


def test_what_is_no_file_is_written_to_as_it_stands() -> None:
    with pytest.raises(OSError, match="No space left on device") as caught:
        write_file(Path("/dev/full"), "x")
    assert caught.value.filename == "/dev/full" and Path("/dev/full").is_char_device()
    code = (
        "from pathlib import Path; from dualsweep.trainer.storage import write_file; write_file(Path('/dev/stdout'), 'printed')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "printed"


def test_a_folder_or_a_place_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match=str(tmp_path)):
        write_file(tmp_path, "x")
    for missing in (tmp_path / "no" / "x", tmp_path / ("a" * 256)):
        with pytest.raises(OSError, match=r"No such file|name too long") as caught:
            write_file(missing, "x")
        assert caught.value.filename == str(missing)
