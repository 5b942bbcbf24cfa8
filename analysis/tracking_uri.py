"""The MLflow store that is meant by what a user wrote, and what can be told against it before MLflow is asked.

Imports nothing heavy: bad input is answered before.
"""

from __future__ import annotations

import os
import re
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from dualsweep.trainer.config.masking import ambiguous_login
from dualsweep.trainer.config.uris import PLAIN, is_local, local_path, of_file, sqlite_file, sqlite_url

DEFAULT = "mlflow.db"
VARIABLE = "MLFLOW_TRACKING_URI"
#: The databases that MLflow keeps its store in, each with or without a driver (`postgresql+psycopg`).
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
_ASYNCHRONOUS = ("aiomysql", "aioodbc", "aiosqlite", "asyncmy", "asyncpg")
_SERVICES = ("http", "https", "databricks", "databricks-uc", "uc")
_EXAMPLES = "sqlite:///mlflow.db, http://HOST:5000 or postgresql://HOST/DATABASE"


def tracking_uri(written: str | None = None) -> str:
    """The store that is meant: the one written, else MLFLOW_TRACKING_URI, else mlflow.db in the working directory.

    The path of an SQLite file is made absolute: workers and later commands stand in other folders.
    """
    return sqlite_url(written or os.environ.get(VARIABLE) or f"{PLAIN}{DEFAULT}")


def wrong_with(uri: str) -> tuple[str, str] | None:
    """The rule that a tracking URI breaks, and the way out; None where it breaks none. Nothing is connected to."""
    rule, scheme = "must be the address of an MLflow store", uri.partition(":")[0].lower()
    if re.match(r"databricks(-uc)?(://|\Z)", uri):
        return None
    if is_local(uri) and not scheme.startswith("sqlite"):
        if os.environ.get("MLFLOW_ALLOW_FILE_STORE", "").lower() in ("true", "1"):
            return None
        return f"{rule}, not a path: MLflow keeps runs in a database or behind a server", f"write {_instead(uri)}"
    kind = scheme.partition("+")[0]
    if kind in DATABASES:
        return _wrong_with_database(uri, kind, rule)
    if kind == "postgres":
        return f"{rule}, of a kind that MLflow knows", "write postgresql:// in place of postgres://"
    if scheme not in (*_SERVICES, *_of_plugins()):
        return f"{rule}, of a kind that MLflow knows", f"write e.g. {_EXAMPLES}"
    if not uri.partition("://")[2].strip("/"):
        return f"{rule} with a host", f"write e.g. {_EXAMPLES}"
    return _wrong_with_login(uri) or (_wrong_with_host(uri, rule) if scheme in ("http", "https") else None)


def _wrong_with_host(uri: str, rule: str) -> tuple[str, str] | None:
    """What no connection can be made to: no host, one with blanks, a port that is none."""
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return f"{rule} whose port is a number up to 65535, and an address of colons in brackets", "write e.g. http://HOST:5000"
    if not host or set(host) <= set(".-") or re.search(r"\s", uri) or port == 0:
        return f"{rule} with a host", "write e.g. http://HOST:5000"
    return None


def _instead(place: str) -> str:
    """The address that may have been meant by a path, or by a host without its scheme."""
    if re.fullmatch(r"[\w.-]+:\d+(/.*)?", place):
        return f"http://{place}"
    path = Path(place.removeprefix("./")) if "://" not in place and not place.startswith(("~", "file:")) else local_path(place)
    return of_file(path if path.suffix and not path.is_dir() else path / DEFAULT)


def _wrong_with_database(uri: str, kind: str, rule: str) -> tuple[str, str] | None:
    written = uri.partition(":")[0]
    if written != written.lower():
        return f"{rule}, its kind in small letters", f"write {written.lower()}:{uri.partition(':')[2]}"
    if (driver := written.partition("+")[2]) and not _is_driver(kind, driver):
        return f"{rule}, with a driver that SQLAlchemy knows and that waits for its answers", f"write {kind}://"
    if kind != "sqlite":
        return _wrong_with_login(uri)
    if sqlite_file(uri) is not None:
        return None
    name = uri.partition(":")[2].strip("/") or DEFAULT
    if name == ":memory:":
        return f"{rule} that outlives the process", f"write sqlite:///{DEFAULT}"
    return f"{rule}: sqlite takes three slashes before a path, four before an absolute one", f"write sqlite:///{name}"


def _wrong_with_login(uri: str) -> tuple[str, str] | None:
    if not ambiguous_login(uri):
        return None
    return (
        "must have a login that can be told from the address",
        "write @ as %40, / as %2F, : as %3A, ? as %3F and # as %23 in it",
    )


def _is_driver(kind: str, driver: str) -> bool:
    """Whether SQLAlchemy has this driver of a database, itself or by a plug-in; MLflow can't use those that are asynchronous."""
    spec = find_spec("sqlalchemy")
    own = [Path(place) / "dialects" / kind / f"{driver}.py" for place in (spec.submodule_search_locations or [] if spec else [])]
    known = any(file.is_file() for file in own) or bool(entry_points(group="sqlalchemy.dialects", name=f"{kind}.{driver}"))
    return (known or not own) and driver not in _ASYNCHRONOUS


def _of_plugins() -> set[str]:
    return {each.name for each in entry_points(group="mlflow.tracking_store")}
