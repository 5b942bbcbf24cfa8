"""Where a study is kept, as a sweep writes it: the address read and checked as far as that goes without connecting.

Imports nothing heavy: bad input is answered before.
"""

from __future__ import annotations

from pathlib import Path

from dualsweep.trainer.config.masking import ambiguous_login
from dualsweep.trainer.config.uris import BadPlaceError, is_local, lasting_path, sqlite_file, sqlite_url

JOURNAL = "journal://"
#: SQLAlchemy's dialects that Optuna is kept by, each with or without a driver (`postgresql+psycopg`).
DATABASES = ("sqlite", "postgresql", "mysql", "mariadb", "mssql", "oracle", "cockroachdb")


def storage_url(written: str) -> str:
    """A storage with its path made absolute: a journal (`journal:///path`, or only a path), SQLite, or another database."""
    if is_local(written):
        return f"{JOURNAL}{lasting_path(written)}"
    if written.startswith(JOURNAL):
        return f"{JOURNAL}{lasting_path(_home(written.removeprefix(JOURNAL)))}"
    return sqlite_url(written)


def _home(path: str) -> str:
    """`journal:///~/x` is of the home folder, as `journal://~/x` is."""
    return path[1:] if path.startswith("/~") else path


def wrong_with(written: str) -> tuple[str, str] | None:
    """The rule that a storage breaks, and the way out; None where it breaks none."""
    scheme = written.partition("://")[0].partition("+")[0]
    try:
        storage_url(written)
    except BadPlaceError as error:
        return error.diagnostic.rule, error.diagnostic.remedy
    if is_local(written) and not written.strip():
        return "must name a place", "write e.g. sqlite:///study.db"
    if is_local(written):
        kind, colon, _ = written.partition(":")
        is_url = colon and kind.partition("+")[0] in ("journal", *DATABASES)
        return ("must have `://` after the kind of database", "write e.g. sqlite:///study.db") if is_url else None
    if scheme not in ("journal", *DATABASES):
        return "must be a journal's path or a database's URL", f"write a path, or a URL of {', '.join(DATABASES)}"
    if written.startswith(JOURNAL) and not written.removeprefix(JOURNAL).strip("/"):
        return "must name the journal's file", "write e.g. journal:///shared/study.journal"
    if scheme == "sqlite" and sqlite_file(written) is None:
        return "must name a file, for a sweep that is to be continued", "write e.g. sqlite:///study.db"
    if scheme != "journal" and ambiguous_login(written):
        remedy = "write in it @ as %40, / as %2F, : as %3A, ? as %3F, # as %23"
        return "must have a login that can be told from the address", remedy
    return None


def file_of(url: str) -> Path | None:
    """The file of a journal or an SQLite database; None of a server's."""
    return Path(url.removeprefix(JOURNAL)) if url.startswith(JOURNAL) else sqlite_file(url)
