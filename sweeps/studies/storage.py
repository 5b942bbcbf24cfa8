"""The storage of a study: opened for Optuna, held for one sweep at a time, and found good before anything starts.

Without `storage:` it is a journal in the output folder, not SQLite: it is one append-only file, flushed to the disk with every
record, that also works on the shared file systems clusters have (SQLite's locks do not, on many). What a `kill -9` leaves behind
is at most half a last line, which is cut off on opening, and a stale lock. Of a database every step is one transaction.

Two processes never work on one study. The system lets go of what holds it when a process ends, however it ends: of a lock on a
file beside a journal or an SQLite database, and of PostgreSQL's advisory lock or MySQL's named one with the connection.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from dualsweep.sweeps.planning.study_address import JOURNAL, file_of
from dualsweep.trainer.config.diagnostics import InputError, UnplacedError
from dualsweep.trainer.config.masking import masked
from dualsweep.trainer.errors import TrainingError
from dualsweep.trainer.own_files import GARBAGE, set_aside
from dualsweep.trainer.storage import check_writable

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from sqlalchemy import Connection, Engine

#: Seconds until a server that does not answer is given up, for the drivers that take it.
_PATIENCE = {"psycopg": 5, "psycopg2": 5, "pymysql": 5, "mysqldb": 5}
_log = logging.getLogger(__name__)
Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")
#: Seconds between attempts while a database does not answer in the middle of a sweep.
_WAITS = (1, 2, 4, 8, 16, 30)
_BUSY = "must not be in use by another {}"


class StorageError(UnplacedError):
    """A storage can't be used."""


def check_reachable(url: str) -> None:
    """Looks whether a storage can be read and written, and leaves nothing behind.

    Raises:
        StorageError: no such place, driver or server, or what is there is no database.
    """
    file = file_of(url)
    if file is not None:
        try:
            check_writable(str(file.parent))
        except InputError as error:
            raise StorageError(error.diagnostics[0].rule, error.diagnostics[0].received, "choose another place") from None
        if file.is_dir():
            raise StorageError("must name a file", f"the folder {file}", "add a file name")
        if url.startswith(JOURNAL) or not file.exists():
            return
    import sqlalchemy

    engine = _engine(url)
    with _told(url), engine.connect() as connection:
        tables = set(sqlalchemy.inspect(connection).get_table_names())
    engine.dispose()
    if {"experiments", "runs"} <= tables:
        raise StorageError("must not be MLflow's own database", masked(url), "name another file or database")


def open_storage(url: str, held: bool = True) -> BaseStorage:
    """The storage as Optuna has it; a journal that is `held` by this process is fixed first where a kill left it half written.

    Raises:
        StorageError: it can't be opened, or another version of Optuna wrote it.
    """
    file = file_of(url)
    if url.startswith(JOURNAL) and file is not None:
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        if held:
            file.parent.mkdir(parents=True, exist_ok=True)
            _repair(file)
            _check_replayed(file)
        return JournalStorage(JournalFileBackend(str(file)))
    from optuna.storages import RDBStorage, get_storage

    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
    _engine(url).dispose()
    try:
        with _told(url):
            return get_storage(RDBStorage(url, {"connect_args": _arguments(url), "pool_pre_ping": True}))
    except RuntimeError as error:  # of another version
        raise StorageError(
            "must fit the installed Optuna", _line(error), "run `optuna storage upgrade`, or name another"
        ) from None


@contextlib.contextmanager
def holding(url: str, study: str) -> Iterator[None]:
    """Keeps other processes off a study of a storage.

    Raises:
        StorageError: another process holds it, or the storage can't be reached.
    """
    file = file_of(url)
    with contextlib.ExitStack() as stack:
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            # A journal is fixed when it is opened, so nobody else may write to any study in it.
            own = "" if url.startswith(JOURNAL) else f".{study}"
            stack.enter_context(locked(file.with_name(f"{file.name}{own}.held")))
        else:
            engine = _engine(url)
            stack.callback(engine.dispose)
            with _told(url):
                # Not within a transaction, which servers end when it is idle.
                connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
                stack.callback(connection.invalidate)  # where the server was restarted there is no closing it
                if not _taken(connection, engine.dialect.name, study):
                    raise StorageError(
                        _BUSY.format("sweep"), f"the study `{study}` at {masked(url)}", "wait until that one has ended"
                    )
        yield


@contextlib.contextmanager
def locked(file: Path, by: str = "sweep") -> Iterator[None]:
    """Holds a file for this process; `by` says what else may hold it.

    Raises:
        StorageError: another process holds it.
    """
    if file.is_dir():
        set_aside(str(file.parent), file.name, "a folder")
    handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"process {os.getpid()}\n".encode(), 0)
        except BlockingIOError:
            holder = os.read(handle, 100).decode(errors="replace").strip() or "another process"
            raise StorageError(_BUSY.format(by), holder, "wait until it has ended, or give another `--output`") from None
        except OSError:  # a file system without locks: the storage's own still keep its records whole
            pass
        yield
    finally:
        os.close(handle)


def patient(step: Callable[Arguments, Answer]) -> Callable[Arguments, Answer]:
    """Makes a step on a study outlast a database that is restarted; the step must be one that may be taken twice.

    Raises:
        TrainingError: it does not answer for a minute.
    """

    @functools.wraps(step)
    def patiently(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Answer:
        from optuna.exceptions import StorageInternalError

        for wait in (*_WAITS, None):
            try:
                return step(*args, **kwargs)
            except StorageInternalError as error:
                why = masked(_line(error.__cause__ or error))
                if wait is None:
                    reason = f"the study's storage does not answer ({why})"
                    raise TrainingError(f"{reason}; what has ended is kept, and the same command goes on") from None
                _log.warning("the study's storage does not answer (%s); the next attempt is in %d s", why, wait)
                time.sleep(wait)
        raise AssertionError("unreachable")

    return patiently


def _taken(connection: Connection, dialect: str, study: str) -> bool:
    """Whether this connection now holds the study; a database without such locks is taken at its word."""
    from sqlalchemy import text

    digest = hashlib.sha256(study.encode()).digest()
    if dialect in ("postgresql", "cockroachdb"):
        key = int.from_bytes(digest[:8], "big", signed=True)
        return bool(connection.execute(text("select pg_try_advisory_lock(:key)"), {"key": key}).scalar())
    if dialect in ("mysql", "mariadb"):
        return connection.execute(text("select get_lock(:key, 0)"), {"key": digest.hex()[:60]}).scalar() == 1
    return True


def _engine(url: str) -> Engine:
    import sqlalchemy
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    try:
        return sqlalchemy.create_engine(url, connect_args=_arguments(url))
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        raise StorageError("must be a URL that SQLAlchemy reads", masked(f"{url} ({_line(error)})"), "fix it") from None
    except ImportError as error:
        remedy = f"`pip install {error.name}`, or name another driver (`postgresql+psycopg://…`)"
        raise StorageError("must come with its driver installed", f"{masked(url)} ({_line(error)})", remedy) from None


def _arguments(url: str) -> dict[str, Any]:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(url)
        driver = parsed.get_dialect().driver
    except (ArgumentError, ValueError, ImportError):
        return {}
    if driver == "pysqlite":
        return {"timeout": 60}  # while another process, such as the dashboard, writes
    return {"connect_timeout": _PATIENCE[driver]} if driver in _PATIENCE and "connect_timeout" not in parsed.query else {}


@contextlib.contextmanager
def _told(url: str) -> Iterator[None]:
    """Turns what a database raises into an error without its password."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        cause = error.__cause__ or error
        received = masked(f"{masked(url)} ({_line(getattr(cause, 'orig', None) or cause)})")
        remedy = "start the server, or correct the address"
        raise StorageError("must be a database that answers and can be written", received, remedy) from None


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _check_replayed(journal: Path) -> None:
    """Sets a journal aside that can't be replayed: Optuna would pass over a bad last line, and fail at the next one."""
    from optuna import load_study
    from optuna.exceptions import OptunaError
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    if not journal.is_file():
        if journal.exists() or journal.is_symlink():
            set_aside(str(journal.parent), journal.name, "a folder" if journal.is_dir() else "no file")
        return
    try:
        for number, line in enumerate(journal.read_bytes().splitlines(), 1):
            if type(json.loads(line)["op_code"]) is not int:
                raise ValueError(f"line {number} is no step of a study")
        storage = JournalStorage(JournalFileBackend(str(journal)))
        for study in storage.get_all_studies():
            load_study(study_name=study.study_name, storage=storage).get_trials(deepcopy=False)
    except (*GARBAGE, AssertionError, OptunaError, IsADirectoryError, PermissionError) as error:
        set_aside(str(journal.parent), journal.name, f"{type(error).__name__}: {error}")


def _repair(journal: Path) -> None:
    """Cuts off a last line that a kill left half written, and removes the lock it left: nobody else has the journal open."""
    lock = journal.with_name(journal.name + ".lock")
    if lock.is_dir():
        set_aside(str(lock.parent), lock.name, "a folder")
    lock.unlink(missing_ok=True)
    if not journal.is_file():
        return
    text = journal.read_bytes()
    whole = text.rfind(b"\n") + 1
    if whole < len(text):
        os.truncate(journal, whole)
