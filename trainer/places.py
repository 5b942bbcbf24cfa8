"""Where a run writes: a folder or any fsspec URI. Light: imported while input is checked."""

from __future__ import annotations

import posixpath
import tempfile
from pathlib import Path

from trainer.errors import BadInput, Problem

#: The file that says that a run is finished, and how.
RESULT = "result.json"
#: The file of a checkpoint that is written last, without which it is none.
MARKER = "complete.json"
#: What the workers said when they ended a run.
ERROR = "error.txt"


def is_local(uri: str) -> bool:
    return "://" not in uri or uri.startswith("file://")


def local_path(uri: str) -> Path:
    return Path(uri.removeprefix("file://")).absolute()


def check_writable(uri: str, key: str = "--output", file: str = "command line", line: int = 1) -> None:
    """Refuses an output that can't be written; leaves nothing behind.

    Raises:
        BadInput: the place can't be written, or (for a URI) no file system for it is installed or reachable.
    """
    try:
        if is_local(uri):
            _try_folder(local_path(uri))
        else:
            import fsspec

            files, root = fsspec.core.url_to_fs(uri)
            files.exists(root)
    except Exception as error:
        what = f"{uri!r} ({type(error).__name__}: {error})"
        raise BadInput(
            [Problem(file, line, key, "must be a place that can be written", what, "choose another folder or URI")]
        ) from None


def _try_folder(folder: Path) -> None:
    place = folder
    while not place.exists():
        place = place.parent
    # An unnamed file in the nearest folder that exists: permission bits alone say nothing to root, or on read-only mounts.
    with tempfile.TemporaryFile(dir=place):
        pass


def write_files(place: str, files: dict[str, bytes]) -> None:
    """Writes files into a folder or fsspec URI, each under a passing name first, so that none is ever seen half written."""
    import fsspec

    system, root = fsspec.core.url_to_fs(place)
    system.makedirs(root, exist_ok=True)
    for name, content in files.items():
        path = posixpath.join(root, name)
        with system.open(path + ".part", "wb") as stream:
            stream.write(content)
        system.mv(path + ".part", path)


def read_file(place: str, name: str) -> bytes | None:
    """A file's content, or None where there is none."""
    import fsspec

    system, root = fsspec.core.url_to_fs(place)
    path = posixpath.join(root, name)
    return bytes(system.cat_file(path)) if system.exists(path) else None
