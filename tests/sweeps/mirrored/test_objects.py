"""A folder as objects and back, on a real S3 server, broken off at every single request."""

from __future__ import annotations

import contextlib
import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dualsweep.sweeps.mirrored import objects
from dualsweep.sweeps.mirrored.objects import download, upload
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.storage import OutsideError, filesystem

FIRST = {"study.journal": b"{}\n", "records/0000.json": b"zero", "spool/0000.jsonl": b"1\n2\n", "empty": b"", "sweep.json": b"s"}
SECOND = {
    **FIRST, "study.journal": b"{}\n{}\n", "records/0001.json": b"one", "spool/0001.jsonl": b"3\n",
    "spool/0000.jsonl": b"1\n2\n4\n",
}  # fmt: skip
LEFT = {
    "study.lock": b"",
    "trials/0000/samples.npy": b"x",
    "tune/state": b"x",
    ".number": b"1",
    "records/.0001.json.part": b"half",
}


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def read(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def target(place: str) -> tuple[Any, str]:
    files, root = filesystem(place)
    return files, f"{root}/driver/00000001"


class Cut(Exception):
    pass


class Counting:
    """A file system of which the request number `cut_at` fails; `done` has all before it."""

    def __init__(self, files: Any, cut_at: int | None = None) -> None:
        self._files, self._cut_at, self.done = files, cut_at, list[str]()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if len(self.done) == self._cut_at:
                raise Cut
            self.done.append(f"{name} {args[0]}")
            return getattr(self._files, name)(*args, **kwargs)

        return call


def test_what_is_mirrored_is_there_for_another_without_what_is_this_machines_own(place: str, tmp_path: Path) -> None:
    here = write(tmp_path / "here", FIRST | LEFT)
    upload(here, *target(place), {})
    assert download(place, tmp_path / "there") and read(tmp_path / "there") == FIRST
    assert not download(f"{place}/trials", tmp_path / "none") and not (tmp_path / "none").exists()


def test_whenever_it_is_broken_off_there_is_all_of_before_or_all_of_after(place: str, tmp_path: Path) -> None:
    here, (files, to) = tmp_path / "here", target(place)
    seen = list[bool]()
    for cut_at in itertools.count():
        shutil.rmtree(here, ignore_errors=True)
        before = upload(write(here, FIRST), files, to, {})
        counting = Counting(files, cut_at)
        with contextlib.suppress(Cut):
            upload(write(here, SECOND), counting, to, before)
        there = tmp_path / f"there-{cut_at}"
        assert download(place, there) and read(there) in (FIRST, SECOND)
        seen.append(read(there) == SECOND)
        if len(counting.done) < cut_at:
            break
    assert seen == sorted(seen) and len(seen) > 5 and seen[-1] and not seen[0]
    left = {path.rpartition("/00000001/")[2].rpartition(".")[0] for path in files.find(to)}
    assert left == set(SECOND) | {"index"} and len(files.find(to)) == len(SECOND) + 1, "nothing of before is left"


def test_of_a_file_that_grows_only_what_is_new_travels(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "PART", 4)
    here, (files, to) = tmp_path / "here", target(place)
    before = upload(write(here, {"spool/0000.jsonl": b"abcdefghij", "review.json": b"same"}), files, to, {})
    counting = Counting(files)
    again = upload(here, counting, to, before)
    assert counting.done == [], "nothing has changed"
    after = upload(write(here, {"spool/0000.jsonl": b"abcdefghijKLM"}), counting, to, again)
    assert [each.split()[0] for each in counting.done] == ["pipe_file", "pipe_file", "pipe_file", "rm"], "ijKL, M, the index"
    download(place, tmp_path / "there")
    assert read(tmp_path / "there")["spool/0000.jsonl"] == b"abcdefghijKLM" and len(after["spool/0000.jsonl"].parts) == 4


def test_a_copy_is_brought_up_to_date(place: str, tmp_path: Path) -> None:
    here, (files, to) = tmp_path / "here", target(place)
    before = upload(write(here, SECOND), files, to, {})
    download(place, tmp_path / "there")
    kept = (tmp_path / "there" / "sweep.json").stat().st_mtime_ns
    (here / "records" / "0001.json").unlink()
    upload(write(here, {"study.journal": b"other"}), files, to, before)
    download(place, tmp_path / "there")
    assert read(tmp_path / "there") == read(here)
    assert (tmp_path / "there" / "sweep.json").stat().st_mtime_ns == kept, "what was there is not brought again"


def test_an_object_that_is_damaged_costs_its_file_alone(place: str, tmp_path: Path) -> None:
    files, to = target(place)
    upload(write(tmp_path / "here", FIRST), files, to, {})
    (path,) = files.glob(f"{to}/records/0000.json.*")
    files.pipe_file(path, b"zerO")
    download(place, tmp_path / "there")
    there = read(tmp_path / "there")
    assert there.pop("records/0000.json.damaged") == b"zerO"
    assert there == {name: content for name, content in FIRST.items() if name != "records/0000.json"}


@pytest.mark.parametrize("name", ["../../payload", "/tmp/payload", "records/../../payload", "..\\payload", ""])
def test_an_index_writes_nothing_outside_of_its_folder(name: str, place: str, tmp_path: Path) -> None:
    files, to = target(place)
    files.pipe_file(f"{to}/index.json", json.dumps({name: {"bytes": 1, "parts": ["0" * 64]}}).encode())
    with pytest.raises(OutsideError):
        download(place, tmp_path / "a" / "b")
    assert read(tmp_path) == {}


@pytest.mark.parametrize("content", [b"", b"[1]", b"{", b'{"x": 1}', b'{"x": {"parts": 3}}', b"\xff"])
def test_a_damaged_index_is_told_in_one_line(content: bytes, place: str, tmp_path: Path) -> None:
    files, to = target(place)
    files.pipe_file(f"{to}/index.json", content)
    with pytest.raises(TrainingError, match=r"index\.json must be as a driver wrote it.* restore it, or delete driver/") as told:
        download(place, tmp_path / "there")
    assert "\n" not in str(told.value)
