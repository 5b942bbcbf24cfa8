"""The state of an SQLite file that MLflow is to work on, told without MLflow: its own words come late, as a traceback."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sqlite3
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from dualsweep.trainer.config.diagnostics import InputError
from dualsweep.trainer.config.uris import sqlite_file
from dualsweep.trainer.config.wording import show
from dualsweep.trainer.storage import check_writable

#: How every SQLite file begins that is not empty.
_HEAD = b"SQLite format 3\x00"
_REVISION = re.compile(r"^(revision|down_revision)\s*(?::[^=]*)?=\s*['\"](\w+)['\"]", re.MULTILINE)
#: Tables that MLflow's stores have, and those of an Optuna study.
_OURS, _OPTUNAS = {"experiments", "runs"}, {"studies", "trials"}

Wrong = tuple[str, str, str]


def wrong_with_file(uri: str) -> Wrong | None:
    """The rule that the file of an SQLite URI breaks, what was found and the way out; None where it is none, or good.

    A file that is not there, or empty, is good: MLflow makes its tables.
    """
    file = sqlite_file(uri)
    try:
        if file is None or not file.exists():
            return None
        if file.is_dir():
            return "must name a file", f"the folder {file}", f"write e.g. sqlite:///{file}/mlflow.db"
        with file.open("rb") as stream:
            head = stream.read(len(_HEAD))
    except OSError as error:
        return "must name a file that can be read", f"{show(str(file))} ({error.strerror})", "name another"
    if head not in (b"", _HEAD):
        return "must be an SQLite database", f"{file} (file is not a database)", "move that file away, or name another"
    rule = "must be a database of this MLflow's version"
    try:
        with _reading(file) as connection:
            tables = {str(name) for (name,) in connection.execute("select name from sqlite_master where type = 'table'")}
            query = "select version_num from alembic_version" if "alembic_version" in tables else "select ''"
            version = str((connection.execute(query).fetchone() or [""])[0])
    except sqlite3.DatabaseError as error:
        if "locked" in str(error):
            return None  # by a writer, which MLflow waits for
        return "must be an SQLite database", f"{file} ({error})", "move that file away, or name another"
    if tables >= _OPTUNAS and not tables >= _OURS:
        return "must not be Optuna's own database", str(file), "name another file"
    if tables and not tables & _OURS:
        return "must be a database of MLflow's alone", f"{file} with the table {show(min(tables))}", "name another file"
    return _wrong_with_version(rule, uri, version) if tables >= _OURS else None


def _reading(file: Path) -> contextlib.closing[sqlite3.Connection]:
    """A connection that changes nothing, and waits for a writer no longer than a second."""
    return contextlib.closing(sqlite3.connect(f"file:{quote(str(file))}?mode=ro", uri=True, timeout=1))


def is_empty(file: Path) -> bool:
    """Whether there is nothing in an SQLite file, where MLflow would make its tables; the file is there, and good."""
    if not file.stat().st_size:
        return True
    with _reading(file) as connection:
        try:
            return not connection.execute("select count(*) from sqlite_master").fetchone()[0]
        except sqlite3.DatabaseError:  # by a writer, which MLflow waits for
            return False


def wrong_with_writing(uri: str) -> Wrong | None:
    """The rule that an SQLite URI breaks where MLflow could not write to it, as `wrong_with_file`; leaves nothing behind."""
    file = sqlite_file(uri)
    if file is None:
        return None
    try:
        check_writable(str(file.parent))
        if file.exists() and not os.access(file, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        file.exists()  # raises where the name is too long
    except (OSError, InputError) as error:
        why = error.strerror if isinstance(error, OSError) else f"the folder {show(str(file.parent))} can't be written"
        return "must name a file that can be written", f"{show(str(file))} ({why})", "name one in a folder of yours"
    return None


def _wrong_with_version(rule: str, uri: str, version: str) -> Wrong | None:
    known, newest = _revisions()
    if not newest or version == newest:
        return None
    received = f"version {version or 'unknown'} in {sqlite_file(uri)}, where the installed one has {newest}"
    upgrade = f"back it up and run `mlflow db upgrade {uri}`"
    return rule, received, upgrade if version in known else f"{upgrade} with the newest MLflow, or name another file"


def _revisions() -> tuple[set[str], str]:
    """The versions of its tables that the installed MLflow knows, and the newest, from its migrations' text."""
    spec = find_spec("mlflow")
    known: set[str] = set()
    before: set[str] = set()
    for place in (spec.submodule_search_locations or []) if spec else []:
        for file in (Path(place) / "store" / "db_migrations" / "versions").glob("*.py"):
            migration = dict(_REVISION.findall(file.read_text(encoding="utf-8")))
            known.add(migration.get("revision", ""))
            before.add(migration.get("down_revision", ""))
    newest = known - before - {""}
    return known, newest.pop() if len(newest) == 1 else ""
