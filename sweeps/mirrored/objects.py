"""A folder as whole objects, and back: parts named by what they hold, then `index.json`, which lists them with their checksums.

The index is written last, over the one before, and what it lists no more is deleted after that: whoever reads it finds all of it.
Files that say that something is done are read before those that hold it, so that no index has the one without the other.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dualsweep.sweeps.mirrored.lease import DRIVERS, folder_of, numbers
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.own_files import DAMAGED, GARBAGE
from dualsweep.trainer.storage import filesystem, inside, write_file

INDEX = "index.json"
#: Bytes of a part: of a file that grows, those that are whole stay as they are.
PART = 4 << 20
#: What is not of the driver, or of this machine alone: what trainings write, Ray's and Tune's own state, locks, passing files.
_LEFT_OUT = ("trials", "amortised", "checkpoints", "judges", "ray", "tune")
_PASSING = (".lock", ".held", ".part")
#: What is read first, in this order; all else comes after it. The study knows of an end once the record is there, and so on.
_FIRST = ("review.json", "study.journal", "study.json", "plan.json", "tracking.json", "sweep.json", "records")
#: Files to which lines are added, and nothing else is done.
_GROWING = (".jsonl", ".journal")
#: How often an index is read again where what it lists is gone: the driver that writes it has gone on.
_TRIES = 5


@dataclass(frozen=True)
class Mirrored:
    """A file as it was last mirrored: its size [bytes], when it was changed [ns], and the SHA-256 of its parts."""

    size: int
    changed: int
    parts: tuple[str, ...]


Index = dict[str, Mirrored]


def upload(folder: Path, files: Any, target: str, before: Mapping[str, Mirrored]) -> Index:
    """Mirrors what has changed in `folder` since `before`, which is what `target` has; returns what it has now."""
    after: Index = {}
    for name, path in _files(folder):
        try:
            after[name] = _uploaded(name, path, files, target, before.get(name))
        except FileNotFoundError:  # it was renamed or deleted meanwhile
            continue
    if {name: each.parts for name, each in after.items()} == {name: each.parts for name, each in before.items()} and before:
        return after
    listed = {name: {"bytes": each.size, "parts": each.parts} for name, each in after.items()}
    files.pipe_file(posixpath.join(target, INDEX), json.dumps(listed).encode())
    if gone := sorted(_objects(before) - _objects(after)):
        files.rm([posixpath.join(target, each) for each in gone])
    return after


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """The driver's files by their names below `folder`, markers first."""
    paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()}
    order = {name: rank for rank, name in enumerate(_FIRST)}
    for name in sorted(paths, key=lambda each: (order.get(each.partition("/")[0], len(order)), each)):
        top, last = name.partition("/")[0], posixpath.basename(name)
        if top not in _LEFT_OUT and not last.startswith(".") and not last.endswith(_PASSING):
            yield name, paths[name]


def _uploaded(name: str, path: Path, files: Any, target: str, before: Mirrored | None) -> Mirrored:
    with path.open("rb") as stream:
        stat = path.stat()
        size, changed = stat.st_size, stat.st_mtime_ns
        if before is not None and (before.size, before.changed) == (size, changed):
            return before
        grown = before is not None and name.endswith(_GROWING) and size >= before.size
        parts = list(before.parts[: before.size // PART]) if grown and before is not None else []
        stream.seek(len(parts) * PART)
        there = set(before.parts) if before is not None else set()
        while (at := len(parts) * PART) < size or not parts:
            data = stream.read(min(PART, size - at))
            parts.append(hashlib.sha256(data).hexdigest())
            if parts[-1] not in there:
                files.pipe_file(posixpath.join(target, _object(name, parts[-1])), data)
            if len(data) < min(PART, size - at):  # it has become shorter: the next round has it
                break
    return Mirrored(size, changed, tuple(parts))


def _object(name: str, checksum: str) -> str:
    return f"{name}.{checksum}"


def _objects(index: Mapping[str, Mirrored]) -> set[str]:
    return {_object(name, part) for name, each in index.items() for part in each.parts}


def newest(files: Any, root: str) -> int | None:
    """The number of the last driver that has mirrored anything below `root`; None where none has."""
    found = (each for each in reversed(numbers(files, root)) if files.exists(posixpath.join(folder_of(root, each), INDEX)))
    return next(found, None)


def download(place: str, folder: Path) -> bool:
    """Makes `folder` what the last driver of `place`, a URI, has mirrored; False where none has.

    A file whose object is damaged becomes `NAME.damaged`: the rest goes on, as after damage on a disk.

    Raises:
        TrainingError: the index itself is damaged, or changes faster than it can be read.
    """
    files, root = filesystem(place)
    for _ in range(_TRIES):
        number = newest(files, root)
        if number is None:
            return False
        source = folder_of(root, number)
        try:
            _fetch(files, source, _index(files, source), folder)
        except FileNotFoundError:
            continue
        return True
    raise TrainingError(f"what {INDEX} lists must be there, but in {place} some of it is not, each time anew; try again later")


def _index(files: Any, source: str) -> dict[str, list[str]]:
    path = posixpath.join(source, INDEX)
    try:
        plain = json.loads(files.cat_file(path))
        return {str(name): [str(part) for part in each["parts"]] for name, each in plain.items()}
    except GARBAGE as error:
        told = f"{path} must be as a driver wrote it, but got {type(error).__name__}: {error}"
        raise TrainingError(f"{told}; restore it, or delete {DRIVERS}/ there to begin anew") from None


def _fetch(files: Any, source: str, index: Mapping[str, list[str]], folder: Path) -> None:
    """Brings the listed files into `folder`, those that are there as they are left alone, and deletes what is not listed."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    here, local = dict(_files(folder)), filesystem(str(folder))[0]
    for name, parts in index.items():
        path = Path(inside(local, str(folder), name))
        if name in here and _parts(path) == parts:
            continue
        data = b"".join(files.cat_file(inside(files, source, _object(name, part))) for part in parts)
        good = _checksums(data) == parts
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_file(path if good else path.with_name(path.name + DAMAGED), data)
    for name in here.keys() - index.keys():
        here[name].unlink()


def _parts(path: Path) -> list[str]:
    with path.open("rb") as stream:
        return [hashlib.sha256(part).hexdigest() for part in iter(lambda: stream.read(PART), b"")] or _checksums(b"")


def _checksums(data: bytes) -> list[str]:
    return [hashlib.sha256(data[at : at + PART]).hexdigest() for at in range(0, max(1, len(data)), PART)]
