"""Where a study is kept, as a sweep writes it: the address read and checked as far as that goes without connecting.

Imports nothing heavy: bad input is answered before.
"""

from __future__ import annotations

import re
from pathlib import Path

JOURNAL = "journal://"
_SQLITE = "sqlite:///"
#: SQLAlchemy's dialects that Optuna is kept by, each with or without a driver (`postgresql+psycopg`).
DATABASES = ("sqlite", "postgresql", "mysql", "mariadb", "mssql", "oracle", "cockroachdb")


def storage_url(written: str) -> str:
    """A storage with its path made absolute: a journal (`journal:///path`, or only a path), SQLite, or another database."""
    if "://" not in written:
        return f"{JOURNAL}{Path(written).absolute()}"
    for scheme in (JOURNAL, _SQLITE):
        if written.startswith(scheme):
            return f"{scheme}{Path(written.removeprefix(scheme)).absolute()}"
    return written


def wrong_with(written: str) -> tuple[str, str] | None:
    """The rule that a storage breaks, and the way out; None where it breaks none."""
    scheme = written.partition("://")[0].partition("+")[0]
    if "://" not in written:
        return None if written.strip() else ("must name a place", "write e.g. sqlite:///study.db")
    if scheme not in ("journal", *DATABASES):
        return "must be a journal's path or a database's URL", f"write a path, or a URL of {', '.join(DATABASES)}"
    if written.startswith(JOURNAL) and not written.removeprefix(JOURNAL).strip("/"):
        return "must name the journal's file", "write e.g. journal:///shared/study.journal"
    if scheme == "sqlite" and (not written.startswith(_SQLITE) or written.removeprefix(_SQLITE) in ("", ":memory:")):
        return "must name a file, for a sweep that is to be continued", "write e.g. sqlite:///study.db"
    return None


def file_of(url: str) -> Path | None:
    """The file of a journal or an SQLite database; None of a server's."""
    for scheme in (JOURNAL, _SQLITE):
        if url.startswith(scheme):
            return Path(url.removeprefix(scheme).partition("?")[0])
    return None


def masked(url: str) -> str:
    """A URI without its password, to be shown and kept in files."""
    url = re.sub(r"(://[^/@:]*):[^/@]*@", r"\1:***@", url)
    return re.sub(r"([?&](?:password|passwd|sslpassword)=)[^&]*", r"\1***", url)
