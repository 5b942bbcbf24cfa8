"""Addresses as users write them: which are of this machine, what they name there, and what of it outlives a Ray job.

The one place that reads `~`, `file:` and SQLite's URLs. Light: input is checked with it.
"""

from __future__ import annotations

import itertools
import os
import re
from pathlib import Path
from urllib.parse import quote, unquote

from dualsweep.trainer.config.diagnostics import UnplacedError
from dualsweep.trainer.config.masking import masked
from dualsweep.trainer.config.wording import show

_SQLITE = re.compile(r"(sqlite(?:\+\w+)?):///")
PLAIN, _WITH_DRIVER = "sqlite:///", "sqlite+pysqlite:///"
MEMORY = ":memory:"
#: Bytes of a path and of each name in it that Linux and others take.
_MOST_BYTES, _MOST_OF_NAME = 4095, 255
#: Names the folder that relative places of a Ray job lie below; shared by all nodes where they are several.
STORAGE = "DUALSWEEP_STORAGE"
_HOME = "~/dualsweep"
#: Below which Ray unpacks what a job brought along (`ray._private.runtime_env`), on each node, until it needs the room.
_UNPACKED = ("runtime_resources", "working_dir_files")


class BadPlaceError(UnplacedError, ValueError):
    """A place that cannot be meant."""


def is_local(place: str) -> bool:
    """Whether a place is on this machine: a path, or a `file:` URI."""
    return "://" not in place or place.lower().startswith("file:")


def local_path(place: str) -> Path:
    """The absolute path of a local place: `~` and `~user` are home folders, and `file:` URIs are decoded.

    In a Ray job a relative one that did not travel is what another job wrote there (`lasting_path`).

    Raises:
        BadPlaceError: there is no such user, the URI names another machine, or no file system holds such a path.
    """
    path = _decoded(place) if place.lower().startswith("file:") else place
    sizes = [len(each.encode(errors="replace")) for each in (path, *path.split("/"))]
    if sizes[0] > _MOST_BYTES or max(sizes[1:]) > _MOST_OF_NAME:
        received = f"{show(place)} of {len(place)} characters"
        raise BadPlaceError("must be a path that a file system can hold", masked(received), "give a shorter one")
    if "\0" in path:
        raise BadPlaceError("must be a path that a file system can hold", masked(show(place)), "take the zero out")
    try:
        absolute = (Path(path).expanduser() if path.startswith("~") else Path(path)).absolute()
    except RuntimeError:
        remedy = f"fix it, or write ./{path} for a folder of that name"
        raise BadPlaceError("must be in the home folder of a user of this machine", repr(masked(place)), remedy) from None
    base = None if path.startswith(("/", "~")) or absolute.exists() else lasting_folder()
    return absolute if base is None else base / path


def lasting_folder() -> Path | None:
    """The folder that relative places lie below in a Ray job, whose working directory Ray deletes; None elsewhere.

    It is the one that DUALSWEEP_STORAGE names, else `~/dualsweep` on the driver's node.

    Raises:
        BadPlaceError: DUALSWEEP_STORAGE is no absolute path.
    """
    if not _is_unpacked(Path.cwd()):
        return None
    named = os.environ.get(STORAGE)
    folder = Path(named or _HOME).expanduser()
    if not folder.is_absolute() or _is_unpacked(folder):
        rule = f"{STORAGE} must be an absolute path outside of the job's working directory, which Ray deletes"
        raise BadPlaceError(rule, show(str(named)), f"name a folder that all nodes share, e.g. {STORAGE}=/shared/dualsweep")
    return folder


def lasting_path(place: str) -> Path:
    """The absolute path of a local place that is written to and must outlive the process; `local_path` but in a Ray job.

    Raises:
        BadPlaceError: it can't be meant, or lies in a job's working directory.
    """
    path, base = local_path(place), lasting_folder()
    if base is not None and not place.startswith(("/", "~")) and not place.lower().startswith("file:"):
        path = base / place
    if _is_unpacked(path):
        rule, remedy = "must outlive the job, whose working directory Ray deletes", "name a folder that all nodes share, or a URI"
        raise BadPlaceError(rule, show(str(path)), remedy)
    return path


def state_folder() -> Path:
    """Where this user's programs keep what they know between runs ($XDG_STATE_HOME, else ~/.local/state), and ours below it.

    Raises:
        RuntimeError: there is no home folder.
    """
    given = os.environ.get("XDG_STATE_HOME", "")
    return (Path(given) if given.startswith("/") else Path.home() / ".local" / "state") / "dualsweep"


def _is_unpacked(path: Path) -> bool:
    """Whether a path leads, by links or `..` too, to what Ray unpacked for a job."""
    parts = Path(os.path.realpath(path)).parts
    return any(pair == _UNPACKED for pair in itertools.pairwise(parts))


def _decoded(uri: str) -> str:
    rest = uri[len("file:") :]
    host, slash, path = rest[2:].partition("/") if rest.startswith("//") else ("", "/", rest.lstrip("/"))
    if host not in ("", "localhost") or not slash:
        raise BadPlaceError("must be a file: URI of this machine", repr(masked(uri)), "write file:///path, or the path alone")
    return unquote(path if path.startswith("~") else f"/{path}")


def sqlite_file(url: str) -> Path | None:
    """The absolute path of the file of an SQLite URL; None of any other URL and of a database in memory.

    As SQLAlchemy reads it: `%3F` is a `?`. After `file:` SQLite decodes the path once more, and takes what follows a `?` for
    options.
    """
    matched = _SQLITE.match(url)
    if matched is None:
        return None
    path, _, query = url[matched.end() :].partition("?")
    path = unquote(path)
    if path.startswith("file:"):
        path, _, more = path.removeprefix("file:").partition("?")
        path, query = unquote(path), f"{query}&{more}"
    if path in ("", MEMORY) or "mode=memory" in query:
        return None
    return lasting_path(path[1:] if path.startswith("/~") else path)


def sqlite_url(url: str) -> str:
    """An SQLite URL with its path made absolute; any other as it is. Options of SQLite's own, after `file:`, stay."""
    file, matched = sqlite_file(url), _SQLITE.match(url)
    if file is None or matched is None:
        return url
    path, _, query = url[matched.end() :].partition("?")
    options = "" if query in ("", "uri=true") else f"?{query}"
    if options and unquote(path).startswith("file:"):
        return f"{_WITH_DRIVER}file:{quote(quote(str(file)))}{options}"
    return of_file(file, matched.group()) + options


def of_file(file: Path, prefix: str = PLAIN) -> str:
    """The SQLite URL of a file.

    One with characters that are special in a URL gets the driver's name as well: of `sqlite:///` MLflow takes the path as it is
    written, and makes its folder.
    """
    path = str(file).replace("%", "%25").replace("?", "%3F")
    return f"{_WITH_DRIVER if path != str(file) and prefix == PLAIN else prefix}{path}"
