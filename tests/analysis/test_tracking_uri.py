"""The MLflow store that is meant: what can never be one is refused, and a database of another kind or version told in a line."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

from dualsweep.analysis import database
from dualsweep.analysis.database import wrong_with_file, wrong_with_writing
from dualsweep.analysis.errors import ReviewError
from dualsweep.analysis.store import open_client
from dualsweep.analysis.tracking_uri import tracking_uri, wrong_with
from dualsweep.trainer.config.uris import BadPlaceError, sqlite_file

GOOD = (
    "sqlite:///mlflow.db", "sqlite:////a/b.db", "sqlite:///~/m.db", "sqlite+pysqlite:///x.db", "sqlite:///a b#c.db",
    "sqlite:///x.db?timeout=5", "postgresql://u:p@h/d", "postgresql+psycopg://u@h/d", "mysql+pymysql://h/d", "mssql+pyodbc://h/d",
    "http://h:5000", "https://u:p@h/x", "databricks", "databricks://profile", "databricks-uc",
)  # fmt: skip


@pytest.mark.parametrize("uri", GOOD)
def test_addresses_of_stores_are_taken(uri: str) -> None:
    assert wrong_with(uri) is None


@pytest.mark.parametrize(
    ("uri", "remedy"),
    [
        ("mlflow.db", "write sqlite:///mlflow.db"), ("./mlruns", "write sqlite:///mlruns/mlflow.db"),
        ("file:///x/mlruns", "write sqlite:////x/mlruns/mlflow.db"), ("sqlite://mlflow.db", "write sqlite:///mlflow.db"),
        ("sqlite:mlflow.db", "write sqlite:///mlflow.db"), ("sqlite:///", "write sqlite:///mlflow.db"),
        ("sqlite:///:memory:", "write sqlite:///mlflow.db"), ("localhost:5000", "write http://localhost:5000"),
        ("htp://x:5000", "http://HOST:5000"), ("ftp://x", "http://HOST:5000"), ("s3://b/mlruns", "http://HOST:5000"),
        ("postgres://h/d", "postgresql://"), ("http://", "http://HOST:5000"), ("postgresql://me:a@b@h/d", "@ as %40"),
        ("postgresql://me:a/b@h/d", "/ as %2F"),
        *((uri, "http://HOST:5000") for uri in (
            "http:///x", "http://:5000", "http://x:abc", "http://x:99999", "http://h:0", "https://[::1", "http://x y", "http://.."
        )),
        ("SQLITE:///x.db", "write sqlite:///x.db"), ("Postgresql://h/d", "write postgresql://h/d"),
        ("sqlite+nope:///x.db", "write sqlite://"), ("sqlite+aiosqlite:///x.db", "write sqlite://"),
        ("postgresql+nope://h/d", "write postgresql://"), ("postgresql+asyncpg://h/d", "write postgresql://"),
        ("databricksish", "write sqlite:///databricksish/mlflow.db"),
    ],
)  # fmt: skip
def test_what_can_never_be_a_store_is_refused_with_what_to_write(uri: str, remedy: str) -> None:
    wrong = wrong_with(uri)
    assert wrong is not None and remedy in wrong[1]
    with pytest.raises(ReviewError) as caught:
        open_client(uri)
    assert remedy in str(caught.value) and "\n" not in str(caught.value) and "a@b" not in str(caught.value)


def test_a_folder_is_taken_where_mlflow_is_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    assert wrong_with("./mlruns") is None


def test_the_store_is_the_one_written_else_the_variable_else_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "100% of it? #1 'x'"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert sqlite_file(tracking_uri()) == folder / "mlflow.db"
    assert tracking_uri("sqlite:///~/x.db") == f"sqlite:///{tmp_path}/x.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://h:5000")
    assert tracking_uri() == "http://h:5000" and tracking_uri("sqlite:////a.db") == "sqlite:////a.db"


def mlflow_database(file: Path, version: str) -> str:
    connection = sqlite3.connect(file)
    for table in ("experiments", "runs", "alembic_version"):
        connection.execute(f"create table {table} (version_num text)")
    connection.execute("insert into alembic_version values (?)", (version,))
    connection.commit()
    connection.close()
    return f"sqlite:///{file}"


def test_the_installed_versions_are_those_that_mlflow_says() -> None:
    from mlflow.store.db.utils import _get_latest_schema_revision

    known, newest = database._revisions()
    assert newest == _get_latest_schema_revision() and {"bd07f7e963c5", "451aebb31d03"} <= known


def test_a_database_of_the_installed_version_is_good(tmp_path: Path) -> None:
    assert wrong_with_file(mlflow_database(tmp_path / "good.db", database._revisions()[1])) is None
    (tmp_path / "empty.db").touch()
    assert wrong_with_file(f"sqlite:///{tmp_path}/empty.db") is None
    assert wrong_with_file(f"sqlite:///{tmp_path}/absent.db") is None and wrong_with_file("http://h") is None


@pytest.mark.parametrize(
    "state", ["older", "of a newer MLflow", "without a version", "no database", "cut off", "Optuna's", "another's", "a folder"]
)
def test_another_state_is_told_in_one_line(tmp_path: Path, state: str) -> None:
    file = tmp_path / "m.db"
    uri, words = f"sqlite:///{file}", f"run `mlflow db upgrade sqlite:///{file}`"
    if state == "older":
        mlflow_database(file, "bd07f7e963c5")
    elif state == "of a newer MLflow":
        mlflow_database(file, "ffffffffffff")
        words += " with the newest MLflow"
    elif state == "without a version":
        mlflow_database(file, "")
    elif state in ("no database", "cut off"):
        words = "must be an SQLite database"
        if state == "cut off":
            mlflow_database(file, "bd07f7e963c5")
        file.write_bytes(
            b"this is no database at all, but long enough to be read" * 20 if state == "no database" else file.read_bytes()[:2000]
        )
    elif state == "Optuna's":
        words = "must not be Optuna's own database"
        connection = sqlite3.connect(file)
        for table in ("studies", "trials"):
            connection.execute(f"create table {table} (x)")
        connection.close()
    elif state == "another's":
        words = "must be a database of MLflow's alone, "
        with contextlib.closing(sqlite3.connect(file)) as connection:
            connection.execute("create table mine (x)")
    else:
        words = "must name a file"
        file.mkdir()
    wrong = wrong_with_file(uri)
    assert wrong is not None and words in ", ".join(wrong)
    with pytest.raises(ReviewError) as caught:
        open_client(uri)
    assert words in str(caught.value) and len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("given", [None, "", "10.0.0.0/8, example.org", "localhost"])
def test_this_machine_is_asked_without_a_proxy(given: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    import urllib.request

    from dualsweep.analysis.proxies import reach_this_machine_directly

    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    if given is not None:
        monkeypatch.setenv("NO_PROXY", given)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    for _ in range(2):
        reach_this_machine_directly()
    for host in ("127.0.0.1", "localhost", "127.0.0.1:5000", *(["example.org"] if given and "example" in given else [])):
        assert urllib.request.proxy_bypass(host)
    assert not urllib.request.proxy_bypass("mlflow.example")


@pytest.mark.parametrize("written", ["x", "a text\n", "SQLite format 2\x00" + "x" * 100])
def test_a_short_file_of_somebody_is_not_written_over(tmp_path: Path, written: str) -> None:
    (file := tmp_path / "notes").write_text(written)
    wrong = wrong_with_file(f"sqlite:///{file}")
    assert wrong is not None and wrong[0] == "must be an SQLite database"


@pytest.mark.parametrize("place", ["notes/m.db", "y" * 300, "loop/m.db", "nowhere/m.db", "/proc/m.db", "/dev/null/m.db"])
def test_a_file_that_cannot_be_written_is_told_before(tmp_path: Path, place: str) -> None:
    (tmp_path / "notes").write_text("x")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "nowhere").symlink_to("gone")
    uri = f"sqlite:///{tmp_path / place}"
    try:
        rule, received, _ = wrong_with_file(uri) or wrong_with_writing(uri) or ("", "", "")
    except BadPlaceError as error:
        rule, received = error.diagnostic.rule, error.diagnostic.received
    ways = ("a file that can be written", "a file that can be read", "a path that a file system can hold")
    assert rule.startswith("must ") and rule.endswith(ways)
    assert place.startswith("/") or str(tmp_path)[:20] in received


def test_a_place_that_can_be_written_is_left_as_it_is(tmp_path: Path) -> None:
    assert wrong_with_writing(f"sqlite:///{tmp_path}/new/m.db") is None and not list(tmp_path.iterdir())


@pytest.mark.parametrize("made", [b"", None], ids=["no bytes", "no tables"])
def test_who_only_reads_makes_no_tables_in_a_file_that_has_none(tmp_path: Path, made: bytes | None) -> None:
    file = tmp_path / "m.db"
    if made is None:
        with contextlib.closing(sqlite3.connect(file)) as connection:
            connection.execute("create table mine (x)")
            connection.execute("drop table mine")
            connection.commit()
    else:
        file.write_bytes(made)
    before = file.read_bytes()
    with pytest.raises(ReviewError, match=r"must name an MLflow store that exists, .* is empty"):
        open_client(f"sqlite:///{file}")
    assert file.read_bytes() == before
