"""Where a run writes: a folder or any fsspec URI. Light: imported while input is checked."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import posixpath
import re
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dualsweep.trainer.config.diagnostics import Diagnostic, InputError, UnplacedError
from dualsweep.trainer.config.masking import masked
from dualsweep.trainer.config.uris import BadPlaceError, is_local, local_path
from dualsweep.trainer.config.wording import show, with_class
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.patient_files import PatientFiles

__all__ = [
    "BadPlaceError",
    "OutsideError",
    "as_file_name",
    "check_writable",
    "filesystem",
    "inside",
    "is_local",
    "lies_below",
    "local_path",
    "moved",
    "naming",
    "read_file",
    "step_of",
    "write_file",
    "write_files",
]

#: The file that says that a run is finished, and how.
RESULT = "result.json"
#: The file beside it that says what was trained on.
DATA = "data.json"
#: The file of a checkpoint that is written last, without which it is none.
MARKER = "complete.json"
#: What the workers said when they ended a run.
ERROR = "error.txt"
#: The folder of the pictures of a training that goes on (`monitor`).
LOOKS = "looks"


def look_name(step: int) -> str:
    """The picture after so many steps, below `LOOKS`."""
    return f"step-{step:08d}.png"


def step_of(name: str) -> int | None:
    """The step of a checkpoint folder by its name, `step-00001500`; None of any other name, a copy's among them."""
    return int(name.removeprefix("step-")) if re.fullmatch(r"step-[0-9]{8,}", name) else None


def filesystem(place: str) -> tuple[Any, str]:
    """The fsspec file system of a place, and its root there; a local path is taken as it is, whatever characters it has.

    Raises:
        BadPlaceError: it is no URI, or no file system for it is installed.
    """
    import fsspec

    if is_local(place):
        return fsspec.filesystem("file"), str(local_path(place))
    with answering(place):
        # A listing that is kept would not show what another process has written since.
        files, root = fsspec.core.url_to_fs(place, use_listings_cache=False)
        return PatientFiles(files), root


@contextlib.contextmanager
def answering(place: str) -> Iterator[None]:
    """Tells of a URI that leads nowhere as a mistake of input: every file system has errors of its own, whole pages of them.
    Errors of our own say what they have to.

    Raises:
        BadPlaceError: it does.
    """
    try:
        yield
    except (InputError, UnplacedError, TrainingError):
        raise
    except Exception as error:
        if is_local(place):
            raise
        what = f"{show(place)} ({with_class(error)})"
        remedy = "name a path, or a URI that this machine can reach with what is installed"
        raise BadPlaceError("must be a place that answers", masked(what), remedy) from None


class OutsideError(UnplacedError, TrainingError):
    """A name that was read from a file or a server leads out of the folder that it is of."""


def inside(files: Any, root: str, name: str) -> str:
    """The path of `name`, as a checkpoint, a spool or an archive gives it, below `root` of a file system, which it never leaves.

    Raises:
        OutsideError: the name is absolute, climbs by `..`, is empty or no name at all, or is, here, a link that leads out.
    """
    parts = re.split(r"[/\\\\]", name) if isinstance(name, str) else [""]
    path = posixpath.join(root, str(name))
    plain = all(part not in ("", ".", "..") for part in parts) and "\0" not in name and not re.match(r"\w+:", name)
    here = "file" in ((files.protocol,) if isinstance(files.protocol, str) else files.protocol)
    if not plain or (here and not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root))):
        rule, remedy = "a file of a run must lie in that run's folder", "it was made to reach other files: take another run"
        raise OutsideError(rule, f"{show(name)} in {root}", remedy)
    return path


def described(data: bytes) -> dict[str, int | str]:
    """What `complete.json` says of a file."""
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def as_described(data: bytes, said: Any) -> bool:
    """Whether a file is what `complete.json` says of it; one of 0.1 says its size alone."""
    return len(data) == said if isinstance(said, int) else described(data) == said


def lies_below(path: Path, folder: Path) -> bool:
    """Whether a file or folder of this machine lies below another, with all that is in it and wherever links lead."""
    root = os.path.realpath(folder)
    return all(Path(os.path.realpath(each)).is_relative_to(root) for each in (path, *path.rglob("*")))


def moved(path: Path, folder: Path) -> Path:
    """Where a file lies now that was noted by its path below a folder that was moved since; itself where it is nowhere there."""
    folder = folder.absolute()
    if path.is_relative_to(folder):
        return path
    below = (folder.joinpath(*path.parts[start:]) for start in range(1, len(path.parts)))
    return next((each for each in below if each.exists()), path)


def as_file_name(name: str) -> str:
    """A name that anyone may have given, as that of one file or folder: no part of it leads elsewhere or is hidden."""
    return re.sub(r"[^\w.-]", "-", name).lstrip(".")[:100] or "-"


def check_writable(uri: str, key: str = "--output", file: str = "command line", line: int = 1) -> None:
    """Refuses an output that can't be written; leaves nothing behind.

    Raises:
        InputError: the place can't be written, or (for a URI) no file system for it is installed or reachable.
    """
    try:
        if is_local(uri):
            _try_folder(local_path(uri))
        else:
            _try_uri(uri)
    except BadPlaceError as error:
        raise InputError([error.diagnostic.at((key,), file, line)]) from None
    except Exception as error:
        what = masked(f"{uri!r} ({type(error).__name__}: {error})")
        raise InputError(
            [Diagnostic((key,), "must be a place that can be written", what, "choose another folder or URI", file, line)]
        ) from None


def _try_uri(uri: str) -> None:
    """A bucket that is not there, and no right to write in it, show themselves only where something is written."""
    files, root = filesystem(uri)
    path = posixpath.join(root, f".dualsweep-{uuid.uuid4().hex}")
    with answering(uri):
        files.pipe_file(path, b"")
        files.rm_file(path)


def _try_folder(folder: Path) -> None:
    place = folder
    while not place.exists():
        if place.is_symlink():
            raise FileNotFoundError(errno.ENOENT, "a link that leads nowhere", str(place))
        place = place.parent
    # An unnamed file in the nearest folder that exists: permission bits alone say nothing to root, or on read-only mounts.
    with tempfile.TemporaryFile(dir=place):
        pass


def write_files(place: str, files: dict[str, bytes]) -> None:
    """Writes files into a folder or fsspec URI, so that none is ever seen half written: objects are whole or not there, and files
    have a passing name first.
    """
    system, root = filesystem(place)
    if is_local(place):
        system.makedirs(root, exist_ok=True)
    for name, content in files.items():
        path = posixpath.join(root, name)
        if not is_local(place):
            system.pipe_file(path, content)
            continue
        with naming(path):
            with system.open(path + ".part", "wb") as stream:
                stream.write(content)
            system.mv(path + ".part", path)


_STREAMS = (Path("/dev"), Path("/dev/fd"))


def write_file(path: Path, content: str | bytes, *, durable: bool = False) -> Path:
    """Writes a local file whole or not at all, text as UTF-8; `durable`: it outlives a loss of power from then on.

    What isn't a file, as `/dev/stdout` or a named pipe, is written to as it stands; a link stays one.

    Raises:
        OSError: with the path as its `filename`, also where the disk is full.
    """
    data = content.encode() if isinstance(content, str) else content
    with naming(str(path)):
        if path.parent in _STREAMS or (path.exists() and not path.is_file()):
            with path.open("ab") as stream:  # standard output may be a file that others write to as well
                stream.write(data)
            return path
        target = Path(os.path.realpath(path))
        part = target.with_name(f".{target.name[:50]}.part")  # names have at most 255 bytes
        try:
            with part.open("wb") as stream:
                stream.write(data)
                if durable:
                    stream.flush()
                    os.fsync(stream.fileno())
            part.replace(target)
        except BaseException:
            with contextlib.suppress(OSError):
                part.unlink()  # it would hold its share of a disk that is full
            raise
    return path


@contextlib.contextmanager
def naming(path: str) -> Iterator[None]:
    """Names an `OSError` after what was to be written: a full disk has no name in it, and passing files are nobody's concern."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, os.strerror(error.errno), path) from error


def read_file(place: str, name: str) -> bytes | None:
    """A file's content, or None where there is none.

    Raises:
        OutsideError: it is a link that leads out of `place`.
    """
    system, root = filesystem(place)
    path = inside(system, root, name)
    return bytes(system.cat_file(path)) if system.exists(path) else None
